"""Compute the four matrices retrieval compares during a backfill, from two systems and a method."""

from __future__ import annotations

import torch

from compat.embeddings import Embeddings
from compat.methods.upgrade import Upgrade, through


def serve(method: Upgrade, plain: Embeddings, before: tuple[Upgrade, Embeddings] | None = None) -> Embeddings:
    """Apply a method to plain embeddings: queries and gallery before and after each item's backfill.

    Args:
        method: with its learned state.
        plain: queries and gallery as the old and the new model embed them; side-information, if the method takes any,
            follows the old embeddings column-wise.
        before: the previous upgrade and its plain matrices, for items it has not reached: they stay as it found them,
            and the query is mapped back through both upgrades.

    Returns:
        The matrices as retrieval compares them.

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
