"""The hierarchical bootstrap: against a slow loop, against formulas, and how often its interval covers the truth."""

import numpy as np
import pytest

from compat.statistics import hierarchical_bootstrap, percentiles


def slow(groups, resamples, seed, fixed):
    """One resample after the other, in the words of the documentation."""
    random = np.random.default_rng(seed)

    def drawn(members):
        return [members[random.integers(len(members))] for _ in range(max(len(members) - 1, 1))]

    found = []
    for _ in range(resamples):
        of_sets = []
        for trainings in groups if fixed else drawn(groups):
            of_trainings = [np.mean(drawn(list(queries)), axis=0) for queries in drawn(trainings)]
            of_sets.append(np.mean(of_trainings, axis=0))
        found.append(np.mean(of_sets, axis=0))
    return np.array(found)


def planted(seed=0):
    """Three data sets of 1 to 3 trainings of 1 to 40 queries, figures of two methods."""
    random = np.random.default_rng(seed)
    return [
        [random.normal(place, 1 + place, size=(queries, 2)) for queries in sizes]
        for place, sizes in enumerate(([40], [1, 1, 1], [10, 20]))
    ]


@pytest.mark.parametrize("fixed", [False, True])
def test_resamples_are_distributed_as_those_of_a_slow_loop(fixed):
    groups = planted()
    found, expected = hierarchical_bootstrap(groups, 8000, fixed=fixed), slow(groups, 8000, 1, fixed)
    assert found.shape == (8000, 2)
    spread = expected.std(0)
    levels = (2.5, 16, 50, 84, 97.5)
    assert np.abs(np.percentile(found, levels, 0) - np.percentile(expected, levels, 0)).max() < 0.12 * spread.max()
    assert found.std(0) == pytest.approx(spread, rel=0.05)
    assert np.corrcoef(found.T)[0, 1] == pytest.approx(np.corrcoef(expected.T)[0, 1], abs=0.05)


def test_the_variance_of_one_level_is_that_of_its_mean():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    found = hierarchical_bootstrap([[np.array([[value]])] for value in values], 20_000)
    assert found.var() == pytest.approx(values.var(ddof=1) / 4, rel=0.05)
    found = hierarchical_bootstrap([[values[:, None]]], 20_000)
    assert found.var() == pytest.approx(values.var(ddof=1) / 4, rel=0.05)


def test_methods_are_resampled_together_and_a_seed_gives_the_same():
    groups = [
        [np.column_stack([queries[:, 0], queries[:, 0] + 0.5]) for queries in trainings] for trainings in planted()
    ]
    found = hierarchical_bootstrap(groups, 50)
    assert found[:, 1] - found[:, 0] == pytest.approx(np.full(50, 0.5))
    assert np.array_equal(found, hierarchical_bootstrap(groups, 50))
    assert not np.array_equal(found, hierarchical_bootstrap(groups, 50, seed=1))


def test_queries_in_several_chunks_are_as_many(monkeypatch):
    groups = planted()
    whole = hierarchical_bootstrap(groups, 4000)
    monkeypatch.setattr("compat.statistics.CHUNK", 100)
    parts = hierarchical_bootstrap(groups, 4000)
    assert parts.shape == whole.shape
    assert parts.std(0) == pytest.approx(whole.std(0), rel=0.05)


def test_what_is_single_everywhere_has_no_width():
    found = hierarchical_bootstrap([[np.array([[0.25, 0.5]])]], 10)
    assert np.array_equal(found, np.tile([0.25, 0.5], (10, 1)))
    assert percentiles(0.25, found[:, 0]) == (0.25, 0.25, 0.25)


@pytest.mark.slow
@pytest.mark.parametrize(("within", "fixed"), [(0.3, False), (1.0, False), (0.3, True), (1.0, True)])
def test_an_interval_of_95_percent_covers_nearly_as_much(within, fixed):
    """Four data sets of three trainings, whose true means spread by 1; within: the spread of trainings."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(500):
        true = random.normal(size=4)
        groups = [[np.array([[mean + within * random.normal()]]) for _ in range(3)] for mean in true]
        _, low, high = percentiles(0.0, hierarchical_bootstrap(groups, 1000, fixed=fixed)[:, 0])
        covered += low <= (true.mean() if fixed else 0.0) <= high
    assert 0.8 < covered / 500 < 0.99
