"""How well a way to search agrees with the new system, from pairs alone: no label is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from compat.engine.exact import distances
from compat.merge import Merge

NEAR = 0.2  # share of the items that counts as near
SIGMA = 3.0  # standard errors by which a way has to be better


class CandidateSearch(NamedTuple):
    """A way to search what is not migrated, tried on pairs that were held back from it.

    Attributes:
        query: (N, D) of the pairs as queries.
        item: (N, D) of the pairs as items that are not migrated.
        merge: rule of merging; None: raw distances.
    """

    query: Tensor
    item: Tensor
    merge: Merge | None = None


def agreement(way: CandidateSearch, new: Tensor, share: float, relevant: int) -> Tensor:
    """Average precision of each pair as a query among the others, (N,), in a backfill of these pairs.

    The first `share` of the pairs are migrated. Relevant are those of the others that the new system finds nearest.

    Args:
        way: to search those that are not.
        new: (N, D_new) of the pairs.
        share: of the pairs that are migrated.
        relevant: how many.
    """
    count = len(new)
    truth = distances(new, new).fill_diagonal_(torch.inf)
    near = torch.zeros(count, count, dtype=torch.bool)
    near.scatter_(1, truth.topk(relevant, largest=False).indices, True)
    found = [distances(way.query, way.item).numpy(), truth.numpy()]
    if way.merge is not None and way.merge.scales is not None:
        found = [scale(distance) for scale, distance in zip(way.merge.scales, found, strict=True)]
    migrated = np.arange(count) < round(share * count)
    merged = torch.from_numpy(np.where(migrated, found[1], found[0])).double().fill_diagonal_(torch.inf)
    hits = near.gather(1, merged.argsort(dim=1, stable=True)).double()
    precision = hits.cumsum(1) / torch.arange(1, count + 1)
    return (precision * hits).sum(1) / hits.sum(1)


def is_better(gains: Tensor) -> bool:
    """Whether the mean of gains (N,) is above 0 by `SIGMA` standard errors."""
    return float(gains.mean()) > SIGMA * float(gains.std()) / len(gains) ** 0.5


def gain(way: CandidateSearch, standard: CandidateSearch, new: Tensor, share: float, sizes: Sequence[int]) -> float:
    """How much better a way agrees with the new system than what served before; 0 unless it surely does.

    It has to find more of the nearest fifth, and the very nearest not later on average: a rotation may get what is far
    right and what is near wrong, and where few items are relevant it is these that count. What is not migrated has to
    be ranked better by itself too, or just the same: where the spaces have nothing to do with each other, a way that
    only puts all of it last would look good among what is migrated. A pair is compared with the others of its fold
    alone, as a model knows where the pairs are that it has seen.

    Args:
        way: a way to search.
        standard: what served before, on the same pairs.
        new: (N, D_new) of these pairs.
        share: of the gallery that is migrated.
        sizes: of the folds that the pairs were held back in.
    """

    def agreed(one: CandidateSearch, migrated: float, near: float) -> Tensor:
        folds = zip(one.query.split(list(sizes)), one.item.split(list(sizes)), new.split(list(sizes)), strict=True)
        ways = ((CandidateSearch(query, item, one.merge), z) for query, item, z in folds)
        return torch.cat([agreement(fold, z, migrated, max(1, int(near * (len(z) - 1)))) for fold, z in ways])

    def gains(migrated: float, near: float) -> Tensor:
        return agreed(way, migrated, near) - agreed(standard, migrated, near)

    alone, mixed = gains(0.0, NEAR), gains(share, NEAR)
    if not (bool((alone == 0).all()) or is_better(alone)) or not is_better(mixed):
        return 0.0
    return float(mixed.mean()) if gains(share, 0.0).mean() >= 0 else 0.0
