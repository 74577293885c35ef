"""Agreement of a search with the new system's, measured on pairs without labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from compat.engine.exact import distances
from compat.merge import Merge

NEAR = 0.2  # share of the items considered near
SIGMA = 3.0  # standard errors required of an improvement


class CandidateSearch(NamedTuple):
    """A way to search items not migrated, evaluated on held-back pairs.

    Attributes:
        query: (N, D) pairs as queries.
        item: (N, D) pairs as items which are not migrated.
        merge: merge rule; None: raw distances.
    """

    query: Tensor
    item: Tensor
    merge: Merge | None = None


def agreement(way: CandidateSearch, new: Tensor, share: float, relevant: int) -> Tensor:
    """Compute the average precision (N,) of each pair as a query among the others, in a backfill of these pairs.

    The first `share` of the pairs is migrated. The items nearest under the new system are relevant.

    Args:
        way: search of the items not migrated.
        new: (N, D_new) new embeddings of the pairs.
        share: share of the pairs migrated.
        relevant: number of relevant items.
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
    """Return whether the mean of gains (N,) is above 0 by `SIGMA` standard errors."""
    return float(gains.mean()) > SIGMA * float(gains.std()) / len(gains) ** 0.5


def gain(way: CandidateSearch, standard: CandidateSearch, new: Tensor, share: float, sizes: Sequence[int]) -> float:
    """Return how much better a search agrees with the new system than the baseline; 0 unless significantly.

    It must find more of the nearest fifth, and the very nearest no later on average: a rotation can rank distant items
    well and near ones badly, and with few relevant items only the near ones matter. Items not migrated must also be
    ranked better among themselves, or equally: in unrelated spaces, a search which only puts them last would look good
    among migrated items. A pair is compared with its own fold only, as a model knows the positions of the pairs it has
    seen.

    Args:
        way: a search.
        standard: the baseline, on the same pairs.
        new: (N, D_new) new embeddings of these pairs.
        share: share of the gallery migrated.
        sizes: sizes of the folds in which the pairs were held back.
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
