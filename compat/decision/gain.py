"""Is the new model better, and by enough? A decision with three answers: yes, no, and undecided."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from compat.decision.resampling import bands
from compat.errors import InputError
from compat.statistics import Interval

Outcome: TypeAlias = Literal["better", "worse", "no better", "open"]
MOST = 10**9  # largest number of queries to ask for
LEVEL, POWER = 1.959963984540054, 0.8416212335729143  # normal quantiles of 0.975 and 0.8


def advice(outcome: Outcome) -> bool | None:
    """Return whether to upgrade; None where undecided."""
    return None if outcome == "open" else outcome == "better"


class Decision(NamedTuple):
    """The evidence for the gain of a new model.

    Attributes:
        outcome: "better": significantly above 0 and at least the least gain; "worse": significantly below 0; "no
            better": significantly below the least gain; "open": none of these.
        gain: the mean difference of a query's figure, with its 95 % interval.
        queries: number of queries averaged over.
        more: where undecided, the number of further queries likely to decide; else 0.
    """

    outcome: Outcome
    gain: Interval
    queries: int
    more: int


def decide(old: np.ndarray, new: np.ndarray, least: float = 0.01) -> Decision:
    """Compare two systems on the same queries by a paired bootstrap.

    Args:
        old: (Q,) average precision of each query by the old system; NaN for a query without a positive.
        new: (Q,) by the new one.
        least: smallest gain worth an upgrade.

    Raises:
        InputError: no query has a positive.
    """
    difference = (new - old)[np.isfinite(old) & np.isfinite(new)]
    if len(difference) == 0:
        raise InputError("queries: none has a relevant item, expected at least one")
    band = bands(difference[:, None])
    gain = Interval(*(float(end[0]) for end in band))
    return Decision(*_judged(gain, difference, least))


def _judged(gain: Interval, difference: np.ndarray, least: float) -> tuple[Outcome, Interval, int, int]:
    count = len(difference)
    if gain.high < 0:
        return "worse", gain, count, 0
    if gain.high < least:
        return "no better", gain, count, 0
    if gain.low > 0 and gain.mean >= least:
        return "better", gain, count, 0
    margin = gain.mean if gain.mean >= least else least - gain.mean
    return "open", gain, count, max(queries_needed(difference, margin) - count, 1)


def judge(trainings: list[float], gain: Interval, least: float) -> Decision:
    """Decide by the figures of a few trainings, with an interval of their mean, instead of queries.

    Args:
        trainings: gain of each.
        gain: their mean with an interval, see `compat.statistics.over_seeds`.
        least: smallest gain worth an upgrade.
    """
    return Decision(*_judged(gain, np.asarray(trainings), least))


def queries_needed(difference: np.ndarray, margin: float) -> int:
    """Return the number of queries needed to separate a mean difference from `margin`, with power 0.8 at the 5 % level.

    n = ((z_0.975 + z_0.8) s / margin)^2, with s the standard deviation of the paired differences.

    Args:
        difference: (Q,) of each query.
        margin: above 0; 0 gives `MOST`.

    Example:
        >>> queries_needed(np.array([-1.0, 1.0]), 1.0)
        16
    """
    deviation = float(np.std(difference, ddof=1)) if len(difference) > 1 else 1.0
    if deviation == 0:
        return 2
    if margin <= 0:
        return MOST
    return int(min(math.ceil(((LEVEL + POWER) * deviation / margin) ** 2), MOST))
