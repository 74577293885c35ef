"""Which way is taken: the best, or one that asks for less and is not told from it."""

import numpy as np
import pytest

from compat.decision import Effort, choose, halves, regret
from compat.decision.agreement import agreement

PLAIN, TWO, MORE = Effort(), Effort(passes=2), Effort(passes=2, order=True, rule=True)


def areas(*means, queries=400, noise=0.05, seed=0):
    """Areas (C, Q) of ways that differ from query to query about as much as ways do."""
    random = np.random.default_rng(seed)
    query = random.uniform(0.2, 0.8, queries)
    noises = random.normal(size=(len(means), queries))
    noises -= noises.mean(1, keepdims=True)
    return np.array(means)[:, None] + query - query.mean() + noise * noises


def test_the_best_is_chosen_where_it_is_told_from_the_others():
    assert choose(areas(0.4, 0.5, 0.6), [PLAIN, TWO, MORE]) == 2


def test_of_ways_that_are_not_told_apart_the_one_of_the_least_effort_is():
    assert choose(areas(0.4, 0.5995, 0.6), [PLAIN, TWO, MORE]) == 1
    assert choose(areas(0.6, 0.6, 0.6), [MORE, TWO, PLAIN]) == 2


def test_of_ways_of_one_effort_the_better_is():
    assert choose(areas(0.5995, 0.6), [TWO, TWO]) == 1


def test_what_does_not_matter_is_not_paid_for():
    surely = areas(0.595, 0.6, noise=0.001)
    assert choose(surely, [PLAIN, MORE]) == 1
    assert choose(surely, [PLAIN, MORE], near=0.01) == 0


@pytest.mark.parametrize("queries", [2, 3, 10, 101])
def test_halves_are_disjoint_and_all_there_is(queries):
    one, other = halves(queries, seed=3)
    assert sorted([*one, *other]) == list(range(queries))
    assert len(other) - len(one) in (0, 1)
    assert (np.diff(one) > 0).all()


def test_regret_is_the_distance_to_the_best():
    found = regret(areas(0.4, 0.6), 0)
    assert found.behind == pytest.approx(0.2)
    assert found.surely
    assert regret(areas(0.4, 0.6), 1) == (0.0, False)
    assert not regret(areas(0.5999, 0.6), 0).surely


def test_a_clear_case_agrees_with_itself_and_noise_does_not():
    values = areas(0.4, 0.5, 0.6)
    ends = values[0], values[2]
    clear = agreement(values, [PLAIN, TWO, MORE], ends, 0.01, splits=10)
    assert clear[1:5] == (1.0, 0.0, 1.0, 1.0)
    assert clear.behind == 0.0
    same = areas(*[0.5] * 6, noise=0.2)
    noisy = agreement(same, [TWO] * 6, (same[0], same[1]), 0.01, splits=10)
    assert noisy.same_way < 0.7
    assert noisy.good_way >= 0.8  # another one was chosen, and it is as good
