"""Intervals over seeds, paired comparisons over queries, ranks over data sets. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


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


def moderated(values: np.ndarray, common: float) -> Interval:
    """Return the mean of a few values and its interval, their variance shrunk half way to a common one.

    For a few values close by chance Student's interval is far too narrow, for equal ones it has no width; as the common
    variance is known well, the degrees of freedom are doubled (Smyth, 2004, who estimates the weights).

    Args:
        values: two or more.
        common: mean variance of many similar groups of values.
    """
    from scipy.special import stdtrit

    mean, degrees = float(np.mean(values)), len(values) - 1
    half = float(stdtrit(2 * degrees, 0.975) * ((np.var(values, ddof=1) + common) / 2 / len(values)) ** 0.5)
    return Interval(mean, mean - half, mean + half)


def friedman(ranks: np.ndarray) -> float:
    """Return p of Friedman's test of equal ranks (chi-square); NaN for fewer than three methods.

    Args:
        ranks: (N, k) of k methods on each of N data sets.
    """
    if ranks.shape[1] < 3:
        return float("nan")
    if np.all(ranks == ranks[:, :1]):
        return 1.0
    from scipy import stats

    return float(stats.friedmanchisquare(*ranks.T).pvalue)


def critical_difference(methods: int, data_sets: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of two mean ranks, for any pair of the methods (Demsar, JMLR 2006).

    Args:
        methods: number of ranked methods.
        data_sets: number of independent rankings. Trainings on one data set are no independent data sets.
        alpha: of all pairs together.
    """
    from scipy import stats

    quantile = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / 2**0.5
    return float(quantile * (methods * (methods + 1) / (6 * data_sets)) ** 0.5)


def within(means: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Find the longest runs of ascending means spanning less than a difference, as first and last places.

    Example:
        >>> within([1.0, 2.0, 3.5, 9.0], 2.0)
        [(0, 1), (1, 2)]
    """
    runs: list[tuple[int, int]] = []
    for first, mean in enumerate(means):
        last = max(place for place, other in enumerate(means) if other - mean < difference)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs
