"""Find who loses during a backfill: the worst moment, and the queries and classes falling most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compat.decision.resampling import bands

RECOVERED = 1e-9  # a smaller difference is rounding
FEWEST = 5  # queries of a class whose fall can be sure


class ProgressLosses(NamedTuple):
    """A moment of a backfill, compared with the old system.

    Attributes:
        point: its index among the completion ratios.
        progress: its completion ratio.
        value: mAP.
        change: mAP minus the old system's.
        losing: share of the queries with a lower average precision than by the old system.
        flips: share of the queries answered correctly at rank 1 by the old system and wrongly at this moment.
    """

    point: int
    progress: float
    value: float
    change: float
    losing: float
    flips: float


class Fall(NamedTuple):
    """A query or a class with a lower average precision.

    Attributes:
        place: row of the query, or label of the class.
        before: (mean) average precision by the old system.
        worst: likewise at the given moment.
        end: likewise at the end.
        queries: number of queries averaged over.
    """

    place: int
    before: float
    worst: float
    end: float
    queries: int

    @property
    def recovers(self) -> bool:
        """Whether it ends no lower than it began."""
        return self.end >= self.before - RECOVERED


def moments(
    progress: Sequence[float], before: np.ndarray, values: np.ndarray, flips: np.ndarray
) -> list[ProgressLosses]:
    """Compare each completion ratio with the old system.

    Args:
        progress: (T,) completion ratios.
        before: (Q,) average precision by the old system.
        values: (Q, T) on the way.
        flips: (Q, T) share of the orders in which a query flipped from correct to wrong at rank 1.
    """
    lower = values < before[:, None] - RECOVERED
    return [
        ProgressLosses(
            t, float(p), float(values[:, t].mean()), float((values[:, t] - before).mean()), float(lower[:, t].mean()),
            float(flips[:, t].mean()),
        )
        for t, p in enumerate(progress)
    ]  # fmt: skip


def lowest(found: Sequence[ProgressLosses]) -> ProgressLosses:
    """Return the moment of the lowest mAP, the later of equal ones; the start counts where nothing later is lower."""
    return min(found, key=lambda moment: (moment.value, -moment.point))


def falls(rows: np.ndarray, before: np.ndarray, worst: np.ndarray, end: np.ndarray, most: int) -> list[Fall]:
    """Return the queries falling most between the old system and a moment.

    Args:
        rows: (Q,) numbers of the queries.
        before: (Q,) average precision.
        worst: (Q,) at the moment.
        end: (Q,) at the end.
        most: number of queries; those not falling are left out.
    """
    change = worst - before
    return [
        Fall(int(rows[q]), float(before[q]), float(worst[q]), float(end[q]), 1)
        for q in np.argsort(change, kind="stable")[:most]
        if change[q] < -RECOVERED
    ]


class Lower(NamedTuple):
    """Classes ending significantly lower than they began.

    Attributes:
        lower: number of such classes.
        classes: number of all classes.
        share: share of the queries in these classes.
    """

    lower: int
    classes: int
    share: float


def lower_classes(labels: np.ndarray, before: np.ndarray, end: np.ndarray) -> Lower:
    """Count the classes whose mean falls, its 95 % interval over their queries below 0; with few queries none does.

    Args:
        labels: (Q,) of each query.
        before: (Q,) average precision by the old system.
        end: (Q,) at the end.
    """
    names, counts = np.unique(labels, return_counts=True)
    lower = [
        int(count)
        for name, count in zip(names, counts, strict=True)
        if count >= FEWEST and bands((end - before)[labels == name][:, None]).high[0] < -RECOVERED
    ]
    return Lower(len(lower), len(names), sum(lower) / len(labels))


def class_falls(labels: np.ndarray, before: np.ndarray, worst: np.ndarray, end: np.ndarray, most: int) -> list[Fall]:
    """Return the classes whose queries fall most on average; arguments as of `falls`, with the label of each query."""
    names, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    start, then, last = (np.bincount(inverse, values) / counts for values in (before, worst, end))
    found = falls(names, start, then, last, most)
    return [fall._replace(queries=int(counts[np.searchsorted(names, fall.place)])) for fall in found]
