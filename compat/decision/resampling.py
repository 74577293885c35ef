"""Intervals of many means at once, over the same resamples of queries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
CELLS = 2**22  # of the counts in memory at a time


class Band(NamedTuple):
    """Means with the ends of their 95 % intervals, (C,) each."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def bands(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> Band:
    """Return means over queries with percentile intervals of a bootstrap over queries.

    All columns share the resamples, so a column may be the difference of two figures of the same query (paired
    bootstrap). A resample is a vector of counts, so all means are one matrix product.

    Args:
        values: (Q, C) finite.
        resamples: number of resamples.
        seed: of the resampling.

    Example:
        >>> bands(np.ones((4, 1))).low.tolist()
        [1.0]
    """
    random = np.random.default_rng(seed)
    queries = len(values)
    means, step = [], max(1, CELLS // queries)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = random.integers(0, queries, (count, queries)) + queries * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * queries).reshape(count, queries)
        means.append(times @ values / queries)
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975], axis=0)
    mean = values.mean(0)
    return Band(mean, np.minimum(low, mean), np.maximum(high, mean))
