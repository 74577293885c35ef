"""A proxy without labels: the share of the new system's results already shown."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compat.decision.ranking import chunk
from compat.embeddings import Embeddings
from compat.engine.exact import Distance, Queries, distances
from compat.engine.samples import draw, standardised, standards
from compat.merge import Merge, QueryZScore
from compat.progress import backfill_steps, completion_ratios

NEAREST = 10


def overlap_curve(
    embeddings: Embeddings,
    order: np.ndarray,
    progress: object = 11,
    k: int = NEAREST,
    distance: Distance = "cosine",
    merge: Merge | None = None,
    truth: Tensor | None = None,
) -> np.ndarray:
    """Return the share of the new system's k nearest items among the k nearest on the way, (Q, T).

    It measures the distance from the end, not whether the end is better: only labels can. Labels are not looked at.

    Args:
        embeddings: the four matrices and groups.
        order: a permutation of the gallery, (G,).
        progress: completion ratios, (T,), or their number.
        k: number of items shown per query.
        distance: of the retrieval.
        merge: a fitted rule scaling distances, or `QueryZScore`; None: raw distances.
        truth: (Q, k) the new system's items, if it is another system than at progress 1; see `nearest`.
    """
    e, points = embeddings, completion_ratios(progress)
    step = torch.from_numpy(backfill_steps(order, len(e.gallery_old), points)[0])
    scales = None if merge is None else merge.scales
    samples = draw(merge, order, points, e) if isinstance(merge, QueryZScore) else None
    shown = np.empty((len(e.query_old), len(points)))
    wanted = nearest(e, k, distance) if truth is None else truth
    for rows in torch.arange(len(shown)).split(chunk(len(step))):
        old, new = _both(e, rows, distance)
        if scales is not None:
            old, new = (torch.from_numpy(scale(keys.numpy())) for scale, keys in zip(scales, (old, new), strict=True))
        ignored = e.query_groups[rows, None] == e.gallery_groups
        queries = Queries(e.query_old[rows], e.query_new[rows], e.keys[rows], e.query_groups[rows])
        pairs = None if samples is None else standards(samples, queries, distance)[0]
        for point in range(len(points)):
            here = [old, new]
            if pairs is not None:
                here = [standardised(apart, pairs[point, :, space]) for space, apart in enumerate(here)]
            keys = here[1].where(step <= point, here[0]).double().masked_fill_(ignored, torch.inf)
            found = torch.zeros(keys.shape, dtype=torch.bool)
            found.scatter_(1, keys.topk(wanted.shape[1], largest=False).indices, True)
            shown[rows, point] = found.gather(1, wanted[rows]).double().mean(1).numpy()
    return shown


def nearest(e: Embeddings, k: int = NEAREST, distance: Distance = "cosine") -> Tensor:
    """Return the new system's k nearest items to each query, (Q, k); fewer where the gallery has fewer."""
    found = []
    for rows in torch.arange(len(e.query_new)).split(chunk(len(e.gallery_new))):
        new = distances(e.query_new[rows], e.gallery_new, distance)
        new.masked_fill_(e.query_groups[rows, None] == e.gallery_groups, torch.inf)
        found.append(new.topk(min(k, len(e.gallery_new)), largest=False).indices)
    return torch.cat(found)


def _both(e: Embeddings, rows: Tensor, distance: Distance) -> tuple[Tensor, Tensor]:
    return (
        distances(e.query_old[rows], e.gallery_old, distance),
        distances(e.query_new[rows], e.gallery_new, distance),
    )
