"""How sure a figure is: intervals over seeds, and paired comparisons over queries. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def over_seeds(values: list[float]) -> Interval:
    """The mean of a few seeds and its interval by Student's t; of a single seed, or of equal ones, no width.

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
    """The mean of a - b over queries, with a percentile interval from resampling queries with replacement.

    A beats B where the interval lies above 0. What varies is the choice of queries: models, heads and orders stay.

    Args:
        a: (Q,) a figure of each query by one method; NaN for a query without a positive.
        b: (Q,) by another, of the same queries.
        resamples: how many.
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
