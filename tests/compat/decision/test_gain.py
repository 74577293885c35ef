"""Whether a new model is better: outcomes, intervals, and how many queries would tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.decision import bands, decide, queries_needed
from compat.decision.gain import MOST, judge
from compat.errors import InputError
from compat.statistics import over_seeds, paired_bootstrap


def differences(mean, deviation, queries, seed=0):
    """Old and new figures whose differences have exactly this mean and deviation."""
    random = np.random.default_rng(seed)
    apart = random.normal(size=queries)
    apart = mean + deviation * (apart - apart.mean()) / apart.std(ddof=1)
    old = random.uniform(0.3, 0.6, queries)
    return old, old + apart


@pytest.mark.parametrize(
    ("mean", "deviation", "outcome"),
    [
        (0.05, 0.1, "better"),
        (-0.05, 0.1, "worse"),
        (-0.002, 0.002, "worse"),
        (0.001, 0.05, "no better"),
        (0.004, 0.02, "no better"),  # surely above 0, and surely not worth it
        (0.02, 0.9, "open"),
        (0.009, 0.05, "open"),  # surely above 0, perhaps worth it
    ],
)
def test_outcomes(mean, deviation, outcome):
    old, new = differences(mean, deviation, 400)
    found = decide(old, new, 0.01)
    assert found.outcome == outcome
    assert found.queries == 400
    assert found.gain.mean == pytest.approx(mean)
    assert (found.more > 0) == (outcome == "open")


def test_the_interval_is_that_of_the_paired_bootstrap():
    old, new = differences(0.02, 0.2, 300)
    found, reference = decide(old, new).gain, paired_bootstrap(new, old)
    assert found.mean == pytest.approx(reference.mean)
    assert found.low == pytest.approx(reference.low, abs=0.002)
    assert found.high == pytest.approx(reference.high, abs=0.002)


def test_queries_without_a_positive_do_not_count():
    old, new = differences(0.05, 0.1, 50)
    more = np.array([np.nan, np.nan])
    assert decide(np.append(old, more), np.append(new, more)) == decide(old, new)
    with pytest.raises(InputError, match="none has a relevant item"):
        decide(np.array([np.nan]), np.array([np.nan]))


def test_so_many_queries_as_are_needed_tell_four_times_of_five():
    random = np.random.default_rng(0)
    needed = queries_needed(random.normal(0.02, 0.2, 10_000), 0.02)
    assert 700 < needed < 900  # (1.96 + 0.84)^2 (0.2 / 0.02)^2 = 785
    drawn = random.normal(0.02, 0.2, (2000, needed))
    sure = drawn.mean(1) - 1.96 * drawn.std(1, ddof=1) / needed**0.5 > 0
    assert 0.77 < sure.mean() < 0.83


def test_nothing_tells_what_does_not_differ():
    assert queries_needed(np.array([-1.0, 1.0]), 0.0) == MOST
    assert queries_needed(np.array([-1.0, 1.0]), 1e-12) == MOST
    assert queries_needed(np.ones(5), 0.5) == 2


def test_of_equal_systems_nothing_is_gained():
    values = np.linspace(0, 1, 20)
    assert decide(values, values).outcome == "no better"


def test_trainings_are_judged_by_their_interval():
    gains = [0.1, 0.11, 0.12]
    assert judge(gains, over_seeds(gains), 0.01).outcome == "better"
    apart = [0.3, -0.1]
    assert judge(apart, over_seeds(apart), 0.01).outcome == "open"


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 10**6))
def test_bands_hold_their_mean_and_lie_within_the_values(queries, columns, seed):
    values = np.random.default_rng(seed).normal(size=(queries, columns))
    band = bands(values, resamples=50)
    assert (values.min(0) - 1e-12 <= band.low).all()
    assert (band.low <= band.mean).all()
    assert (band.mean <= band.high).all()
    assert (band.high <= values.max(0) + 1e-12).all()


def test_bands_are_the_same_however_many_resamples_are_made_at_a_time(monkeypatch):
    from compat.decision import resampling

    values = np.random.default_rng(1).normal(size=(40, 3))
    whole = bands(values, resamples=30)
    monkeypatch.setattr(resampling, "CELLS", 7 * 40)
    for one, other in zip(whole, bands(values, resamples=30), strict=True):
        np.testing.assert_allclose(one, other)
