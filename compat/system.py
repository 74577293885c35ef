"""From two systems and a method to the four matrices that retrieval sees while the gallery is backfilled."""

from __future__ import annotations

import torch

from compat.embeddings import Embeddings
from compat.methods.upgrade import Upgrade, through


def serve(method: Upgrade, plain: Embeddings, before: tuple[Upgrade, Embeddings] | None = None) -> Embeddings:
    """The four matrices as a method serves them.

    Args:
        method: with what it has learned.
        plain: queries and gallery as the old and the new model embed them; where the method takes side-information,
            with it beside the old embeddings.
        before: the upgrade before, with its own plain matrices, for a gallery that it has not reached: items are as it
            found them, and the query is mapped back through both.

    Returns:
        Queries and gallery for the part before its backfill and for the part after it.

    Example:
        >>> space = torch.eye(4)
        >>> from compat.methods import Upgrade
        >>> from compat.models import Precomputed
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> served = serve(Upgrade(Precomputed(4), Precomputed(4)), Embeddings(*[space] * 4, labels, labels))
        >>> torch.equal(served.query_old, space)
        True
    """
    query_old, query_new = through(method.query, plain.query_old, plain.query_new)
    gallery_old, gallery_new = through(method.gallery, plain.gallery_old, plain.gallery_new)
    if before is not None:
        first, earlier = before
        with torch.inference_mode():
            query_old = first.query_for_old(earlier.query_old, query_old)
            stale = through(first.gallery, earlier.gallery_old, earlier.gallery_new)[0]
            gallery_old = method.gallery(stale, gallery_new)[0]  # forward once more where it is transformed
    return plain.replace(query_old=query_old, query_new=query_new, gallery_old=gallery_old, gallery_new=gallery_new)
