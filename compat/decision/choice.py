"""Which way to take: chosen on some queries, so that others can say how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compat.decision.resampling import bands

NEAR = 0.02  # share of the gain of the model by which two ways may differ without that it matters


class Effort(NamedTuple):
    """What a way asks for, beyond what waiting and switching does.

    Attributes:
        passes: of an encoder for each query while the backfill goes on.
        rewrites: whether items that are not migrated are written anew on the way.
        training: whether pairs of a training set have to be there.
        order: whether items have to be migrated in a certain order.
        rule: whether distances have to be put on another scale.
    """

    passes: int = 1
    rewrites: bool = False
    training: bool = False
    order: bool = False
    rule: bool = False


def halves(queries: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The rows of two random halves of the queries, ascending.

    Example:
        >>> tuple(len(half) for half in halves(5))
        (2, 3)
    """
    rows = np.random.default_rng(seed).permutation(queries)
    return np.sort(rows[: queries // 2]), np.sort(rows[queries // 2 :])


def hardly(old: np.ndarray, new: np.ndarray) -> float:
    """A difference of two ways that does not matter: a fiftieth of the gain of the model, on these queries (Q,)."""
    return NEAR * max(float((new - old).mean()), 0.0)


def choose(areas: np.ndarray, efforts: Sequence[Effort], near: float = 0.0) -> int:
    """The way of the least effort among those that queries do not tell from the best, or that are about as good.

    Args:
        areas: (C, Q) the area under each query's curve by each way, on the queries to choose by.
        efforts: of each way; of equal ones the better is chosen.
        near: a mean difference that does not matter.

    Returns:
        Its index.
    """
    means = areas.mean(1)
    best = int(means.argmax())
    behind = bands((areas[best] - areas).T)
    good = np.flatnonzero((behind.low <= 0) | (behind.mean <= near))
    return min((int(way) for way in good), key=lambda way: (sum(efforts[way]), -means[way], way))


class Regret(NamedTuple):
    """How a way that was chosen on some queries does on others.

    Attributes:
        behind: mean difference to the best way there.
        surely: whether the interval of that difference lies above 0.
    """

    behind: float
    surely: bool


def regret(areas: np.ndarray, chosen: int) -> Regret:
    """Compare a chosen way with the one that is best on other queries, (C, Q)."""
    best = int(areas.mean(1).argmax())
    behind = bands((areas[best] - areas[chosen])[:, None])
    return Regret(float(behind.mean[0]), bool(behind.low[0] > 0))
