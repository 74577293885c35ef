"""Intervals over seeds, paired comparisons over queries, means over data sets. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

Nested: TypeAlias = "np.ndarray | Sequence[Nested]"  # data sets, in each trainings, in each an array (Q, M)
CHUNK = 1 << 22  # drawn queries at a time


class Interval(NamedTuple):
    """A mean with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def over_seeds(values: list[float]) -> Interval:
    """Return the mean of a few seeds and its interval by Student's t; zero width for a single seed, or equal ones.

    Example:
        >>> over_seeds([1.0, 1.0, 1.0])
        Interval(mean=1.0, low=1.0, high=1.0)
    """
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) == 0:
        return Interval(mean, mean, mean)
    from scipy.special import stdtrit  # here, as all of scipy.stats takes a second to import

    half = float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / len(values) ** 0.5)
    return Interval(mean, mean - half, mean + half)


def paired_bootstrap(a: np.ndarray, b: np.ndarray, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Return the mean of a - b over queries, with a percentile interval from resampling queries with replacement.

    A beats B where the interval lies above 0. Only the choice of queries varies: models, heads and orders stay.

    Args:
        a: (Q,) a figure of each query by one method; NaN for a query without a positive.
        b: (Q,) by another, of the same queries.
        resamples: number of resamples.
        seed: of the resampling.
    """
    difference = (a - b)[np.isfinite(a) & np.isfinite(b)]
    if len(difference) == 0 or np.ptp(difference) == 0:
        mean = float(difference.mean()) if len(difference) else 0.0
        return Interval(mean, mean, mean)
    from scipy import stats

    found = stats.bootstrap(
        (difference,), np.mean, n_resamples=resamples, batch=100, method="percentile", random_state=seed
    )
    low, high = found.confidence_interval
    return Interval(float(difference.mean()), float(low), float(high))


def hierarchical_bootstrap(
    groups: Sequence[Sequence[np.ndarray]], resamples: int = 2000, seed: int = 0, fixed: bool = False
) -> np.ndarray:
    """Resample data sets, then trainings within a data set, then queries within a training; return the means of each.

    All columns of a resample share its draws, so that their differences are paired. Data sets weigh alike, and so do
    the trainings of one. Of n data sets, trainings or queries n - 1 are drawn with replacement, as n of a few would
    underestimate their variance by a factor (n - 1) / n (McCarthy and Snowden, 1985); of one, it. With four data sets
    of three trainings a percentile interval of 95 % covers the true mean in 84 to 91 % of simulated cases; if they are
    fixed, it covers that of these data sets in 92 %.

    Args:
        groups: for each data set, for each of its trainings, (Q, M): a figure of each query by each of M methods;
            (1, M) where only means over the queries are known.
        resamples: their number R.
        seed: of the draws.
        fixed: whether the data sets are taken as they are, and only trainings and queries are drawn.

    Returns:
        (R, M).
    """
    return _resampled(groups, resamples, np.random.default_rng(seed), fixed)


def _resampled(level: Nested, count: int, random: np.random.Generator, fixed: bool = False) -> np.ndarray:
    """Return (count, M) means of a level whose members, unless fixed, are drawn, each drawn member resampled anew."""
    if isinstance(level, np.ndarray):
        return _of_queries(level, count, random)
    sums = []
    for slot in range(len(level) if fixed else max(len(level) - 1, 1)):
        drawn = np.full(count, slot) if fixed else random.integers(len(level), size=count)
        parts = [_resampled(inner, int((drawn == number).sum()), random) for number, inner in enumerate(level)]
        back = np.argsort(np.argsort(drawn, kind="stable"))  # the place of each resample among the parts
        sums.append(np.concatenate(parts)[back])
    return np.mean(sums, axis=0)


def _of_queries(figures: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return (count, M) means of queries drawn from (Q, M)."""
    queries, draws = len(figures), max(len(figures) - 1, 1)
    found = [np.empty((0, figures.shape[1]))]
    for start in range(0, count, rows := max(CHUNK // queries, 1)):
        drawn = random.integers(queries, size=(min(rows, count - start), draws))
        places = (drawn + queries * np.arange(len(drawn))[:, None]).ravel()
        counts = np.bincount(places, minlength=len(drawn) * queries).reshape(len(drawn), queries)
        found.append(counts @ figures / draws)
    return np.concatenate(found)


def percentiles(mean: float, resampled: np.ndarray) -> Interval:
    """Return a mean with the 95 % percentile interval of its resamples (R,)."""
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Interval(mean, float(low), float(high))
