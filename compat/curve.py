"""Summaries of one curve over progress: pure numpy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

Values: TypeAlias = Sequence[float] | np.ndarray


def area(progress: Values, values: Values) -> float:
    """AUC: the trapezoidal mean of a curve over its range of progress; of a single point, its value.

    Example:
        >>> area([0.0, 0.5, 1.0], [0.25, 0.5, 0.5])
        0.4375
    """
    p, v = np.asarray(progress, float), np.asarray(values, float)
    return float(((v[1:] + v[:-1]) / 2 * np.diff(p)).sum() / (p[-1] - p[0])) if len(p) > 1 else float(v[0])


def relative_gain(auc: float, old: float, new: float) -> float:
    """(AUC - old) / (new - old): 0 is the old system throughout, 1 the new one from the start; NaN if new <= old.

    Example:
        >>> relative_gain(0.25, old=0.0, new=0.5)
        0.5
    """
    if new <= old:
        systems = f"the new system ({new:.4f}) is not better than the old ({old:.4f})"
        warnings.warn(f"relative gain is undefined: {systems}", stacklevel=2)
        return math.nan
    return (auc - old) / (new - old)


def sum_of_drops(values: Values) -> float:
    """Sum the falls between neighbouring points; 0 for a curve without a fall.

    Example:
        >>> sum_of_drops([0.5, 0.25, 0.75, 0.5])
        0.5
    """
    return float(np.maximum(-np.diff(np.asarray(values, float)), 0).sum())


def relative_flips(flips: Values, old: float, now: Values) -> np.ndarray:
    """NFR / ((1 - ER_old) ER): the flips over those of two systems with independent errors.

    Args:
        flips: (T,) negative flip rates.
        old: share of the queries answered correctly at rank 1 by the old system.
        now: (T,) likewise at each completion ratio.

    Returns:
        (T,), 0 where there are no flips.

    Example:
        >>> relative_flips([0.0, 0.1], old=0.5, now=[1.0, 0.6]).tolist()
        [0.0, 0.5]
    """
    f, expected = np.asarray(flips, float), old * (1 - np.asarray(now, float))
    return np.divide(f, expected, out=np.zeros_like(f), where=f > 0)
