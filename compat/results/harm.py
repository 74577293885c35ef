"""Harm: runs whose figures fall below the old system's while the gallery is backfilled. Imports no torch.

A run is one `Result`: a training of the models and the method, an order and a merge rule. Its curve is the mean over
its random orders, the only one stored for metrics other than mAP; a single random order can fall deeper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from compat.results.result import Result, metrics_of

ROUNDING = 1e-6  # a smaller fall is none: figures are means of sums in another sequence


def deepest_fall(result: Result, metric: str) -> float:
    """Return how far a curve falls below the old system's figure at most, at any completion ratio; 0 if it never does.

    Args:
        result: one run.
        metric: name of its curve.

    Returns:
        A fraction; for a metric where less is better, the largest rise. NaN without the curve or the old figure.
    """
    if metric not in result.curves or metric not in result.old:
        return math.nan
    sign = 1 if metrics_of([result])[metric].higher_is_better else -1
    fall = float(np.max(sign * (result.old[metric] - np.array(result.curves[metric]))))
    return fall if fall > ROUNDING else 0.0


class Harm(NamedTuple):
    """Runs below the old system by one metric.

    Attributes:
        below: number of runs below it at any completion ratio.
        runs: number of runs with the metric.
        median: of the deepest falls of the runs below, a fraction; NaN without any.
        worst: the largest of them.
    """

    below: int
    runs: int
    median: float
    worst: float


def harm(runs: Iterable[Result], metric: str) -> Harm:
    """Count the runs below the old system at any completion ratio, with the median and the worst of their falls.

    Args:
        runs: of one method, from any data sets and settings.
        metric: name of the curve; runs without it are left out.
    """
    falls = np.array([fall for run in runs if not math.isnan(fall := deepest_fall(run, metric))])
    deep = falls[falls > 0]
    if not len(deep):
        return Harm(0, len(falls), math.nan, math.nan)
    return Harm(len(deep), len(falls), float(np.median(deep)), float(deep.max()))
