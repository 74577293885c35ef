"""Samples of migrated items, by which `compat.merge.QueryZScore` standardises each query's distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from compat.embeddings import Embeddings
from compat.engine.exact import Distance, KeptSample, Queries, distances
from compat.merge import QueryZScore

FLAT = 1e-6  # deviation over mean below which distances differ by rounding


def draw(
    rule: QueryZScore, order: Any, progress: np.ndarray, part: Embeddings, shards: Sequence[int] = ()
) -> list[KeptSample]:
    """Draw the samples of each order, in every process the same.

    Args:
        rule: the merge rule.
        order: a permutation of the whole gallery, (G,), or several, (S, G).
        progress: (T,) completion ratios.
        part: the gallery, or this process's shard of it.
        shards: the number of items in each process's shard; empty: each process has the whole gallery.
    """
    orders = np.atleast_2d(np.asarray(order.cpu() if hasattr(order, "cpu") else order))
    counts = np.floor(progress * orders.shape[1]).astype(np.int64)
    places = [rule.places(count) for count in counts.tolist()]
    first = sum(shards[: dist.get_rank()]) if shards else 0
    found = []
    for order in orders:
        items = [order[some] for some in places]
        rows = np.unique(np.concatenate(items))
        chosen = torch.from_numpy(np.stack([np.isin(rows, some) for some in items])).to(part.gallery_old.device)
        matrices = (part.gallery_old, part.gallery_new, part.gallery_groups)
        old, new, groups = (_rows(values, rows - first, bool(shards)) for values in matrices)
        found.append(KeptSample(old, new, groups, chosen))
    return found


def _rows(values: Tensor, rows: np.ndarray, sharded: bool) -> Tensor:
    """Select rows, which may be in other processes' shards."""
    if not sharded:
        return values[torch.from_numpy(rows).to(values.device)]
    mine = (rows >= 0) & (rows < len(values))
    found = values.new_zeros((len(rows), *values.shape[1:]))
    found[torch.from_numpy(mine)] = values[torch.from_numpy(rows[mine]).to(values.device)]
    dist.all_reduce(found)
    return found


def standards(samples: Sequence[KeptSample], queries: Queries, distance: Distance) -> Tensor:
    """Compute mean and inverse deviation of each query's distances to the samples, (S, T, Q, 2, 2) float64.

    The last dimensions are the space, old or new, and mean or inverse: a distance d becomes (d - mean) * inverse.
    They are 0 and 1, for raw distances, without a sample and where it is without spread in a space. The sum of float32
    distances is exact, and the deviation is rounded to float32, so neither depends on the order of a sum.
    """
    found = []
    for sample in samples:
        kept = (queries.groups[:, None] != sample.groups).double()
        chosen = sample.chosen.double().T
        number = kept @ chosen
        spaces = []
        for query, items in ((queries.old, sample.old), (queries.new, sample.new)):
            apart = distances(query, items, distance).double() * kept
            mean = apart @ chosen / number
            centre = apart.mean(1, keepdim=True).nan_to_num()  # squares of small differences keep their digits
            squares = ((apart - centre) * kept).square() @ chosen / number
            deviation = (squares - (mean - centre).square()).clamp_min(0).sqrt().float().double()
            spaces.append((mean, deviation))
        mean, deviation = (torch.stack(both, -1) for both in zip(*spaces, strict=True))
        spread = (deviation > FLAT * mean).all(-1, keepdim=True)  # without items NaN, which is not greater
        pairs = torch.stack([mean.where(spread, 0.0), (1 / deviation).where(spread, 1.0)], -1)
        found.append(pairs.transpose(0, 1))
    return torch.stack(found)


def standardised(apart: Tensor, pairs: Tensor) -> Tensor:
    """Standardise distances (Q, N) by mean and inverse deviation (Q, 2), float64; infinite ones stay so."""
    return (apart.double() - pairs[:, :1]) * pairs[:, 1:]
