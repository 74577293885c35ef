"""How well a way to search agrees with the new system, from pairs alone: no label is looked at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from compat.engine.exact import distances
from compat.merge import Merge

NEAREST = 5  # a fifth of the items counts as near
SIGMA = 3.0  # standard errors by which a way has to be better


class Way(NamedTuple):
    """A way to search what is not migrated, tried on pairs that were held back from it.

    Attributes:
        query: (N, D) of the pairs as queries.
        item: (N, D) of the pairs as items that are not migrated.
        merge: rule of merging; None: raw distances.
    """

    query: Tensor
    item: Tensor
    merge: Merge | None = None


def agreement(way: Way, new: Tensor, share: float) -> Tensor:
    """Average precision of each pair as a query among the others, (N,), in a backfill of these pairs.

    The first `share` of the pairs are migrated. Relevant is the fifth of the others that the new system finds nearest.

    Args:
        way: to search those that are not.
        new: (N, D_new) of the pairs.
        share: of the pairs that are migrated.
    """
    count = len(new)
    truth = distances(new, new).fill_diagonal_(torch.inf)
    relevant = torch.zeros(count, count, dtype=torch.bool)
    relevant.scatter_(1, truth.topk(max(1, (count - 1) // NEAREST), largest=False).indices, True)
    found = [distances(way.query, way.item).numpy(), truth.numpy()]
    if way.merge is not None and way.merge.scales is not None:
        found = [scale(distance) for scale, distance in zip(way.merge.scales, found, strict=True)]
    migrated = np.arange(count) < round(share * count)
    merged = torch.from_numpy(np.where(migrated, found[1], found[0])).double().fill_diagonal_(torch.inf)
    hits = relevant.gather(1, merged.argsort(dim=1, stable=True)).double()
    precision = hits.cumsum(1) / torch.arange(1, count + 1)
    return (precision * hits).sum(1) / hits.sum(1)


def better(candidates: list[Tensor], standard: Tensor) -> int | None:
    """The candidate with the best mean, of those that are better than a standard by more than chance.

    Args:
        candidates: (N,) each, of the same queries.
        standard: (N,) of what served before.

    Returns:
        Its place; None if there is none.
    """
    best, chosen = 0.0, None
    for place, values in enumerate(candidates):
        gain = values - standard
        error = gain.std() / len(gain) ** 0.5
        if gain.mean() > SIGMA * error and gain.mean() > best:
            best, chosen = float(gain.mean()), place
    return chosen
