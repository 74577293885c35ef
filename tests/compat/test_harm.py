"""Runs below the old system, by cases made by hand and by a loop."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.results.harm import deepest_fall, harm
from tests.helpers.toy import RESULT, curved

shares = st.floats(0, 1, width=16)


@pytest.mark.parametrize(
    ("curve", "fall"),
    [
        ([0.2, 0.3, 0.6], 0.0),
        ([0.25, 0.22, 0.6], 0.0),  # falls, but not below 0.2
        ([0.15, 0.3, 0.6], 0.05),
        ([0.15, 0.05, 0.1], 0.15),
        ([0.2 - 1e-9, 0.3, 0.6], 0.0),  # rounding
    ],
)
def test_the_deepest_fall_is_below_the_old_system_at_any_ratio(curve, fall):
    assert deepest_fall(curved(mean_ap=curve), "mean_ap") == pytest.approx(fall)


def test_a_metric_that_is_better_low_is_harmed_by_a_rise():
    wait = {"label": "wait", "higher_is_better": False}
    result = replace(curved(wait=[0.2, 0.5, 0.1]), old={**RESULT.old, "wait": 0.3}, metrics={"wait": wait})
    assert deepest_fall(result, "wait") == pytest.approx(0.2)


@pytest.mark.parametrize("metric", ["ndcg_10", "negative_flip_rate", "none"])
def test_without_the_curve_or_the_old_figure_there_is_no_fall(metric):
    assert math.isnan(deepest_fall(RESULT, metric))
    assert harm([RESULT], metric)[:2] == (0, 0)


def test_harm_is_of_the_runs_that_fall():
    runs = [curved(mean_ap=[start, 0.3, 0.6]) for start in (0.3, 0.2, 0.1, 0.16, 0.18)]
    assert harm(runs, "mean_ap") == pytest.approx((3, 5, 0.04, 0.1))


@given(st.lists(st.lists(shares, min_size=3, max_size=3), max_size=6), shares)
def test_harm_is_that_of_a_slow_count(curves, old):
    falls = [max(old - value for value in curve) for curve in curves]
    deep = sorted(fall for fall in falls if fall > 1e-6)
    runs = [replace(curved(cmc_1=curve), old={**RESULT.old, "cmc_1": old}) for curve in curves]
    found = harm(runs, "cmc_1")
    assert (found.below, found.runs) == (len(deep), len(curves))
    if deep:
        assert (found.median, found.worst) == (pytest.approx(np.median(deep)), pytest.approx(deep[-1]))
    else:
        assert math.isnan(found.median)
        assert math.isnan(found.worst)
