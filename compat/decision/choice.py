"""Choose a way on some queries, so others can measure it without bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compat.decision.resampling import bands

NEAR = 0.02  # negligible difference between two ways, as a share of the model's gain


class Effort(NamedTuple):
    """The effort of a way beyond waiting and switching.

    Attributes:
        passes: encoder passes per query during the backfill.
        rewrites: whether unmigrated items are rewritten on the way.
        training: whether training pairs are needed.
        order: whether items have to be migrated in a certain order.
        rule: whether distances have to be rescaled.
    """

    passes: int = 1
    rewrites: bool = False
    training: bool = False
    order: bool = False
    rule: bool = False


def halves(queries: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split the queries into two random halves; rows ascending.

    Example:
        >>> tuple(len(half) for half in halves(5))
        (2, 3)
    """
    rows = np.random.default_rng(seed).permutation(queries)
    return np.sort(rows[: queries // 2]), np.sort(rows[queries // 2 :])


def hardly(old: np.ndarray, new: np.ndarray) -> float:
    """Return a negligible difference between two ways: a fiftieth of the model's gain on these queries (Q,)."""
    return NEAR * max(float((new - old).mean()), 0.0)


def choose(areas: np.ndarray, efforts: Sequence[Effort], near: float = 0.0) -> int:
    """Choose the way of least effort among those not significantly, or hardly, behind the best one.

    Args:
        areas: (C, Q) the area under each query's curve for each way, on the choosing queries.
        efforts: of each way; of equal ones the better is chosen.
        near: a negligible mean difference.

    Returns:
        Index of the way.
    """
    means = areas.mean(1)
    best = int(means.argmax())
    behind = bands((areas[best] - areas).T)
    good = np.flatnonzero((behind.low <= 0) | (behind.mean <= near))
    return min((int(way) for way in good), key=lambda way: (sum(efforts[way]), -means[way], way))


class Regret(NamedTuple):
    """How a way chosen on some queries does on others.

    Attributes:
        behind: mean difference to the best way there.
        surely: whether the interval of this difference lies above 0.
    """

    behind: float
    surely: bool


def regret(areas: np.ndarray, chosen: int) -> Regret:
    """Compare a chosen way with the best one on other queries, (C, Q)."""
    best = int(areas.mean(1).argmax())
    behind = bands((areas[best] - areas[chosen])[:, None])
    return Regret(float(behind.mean[0]), bool(behind.low[0] > 0))
