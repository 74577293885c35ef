"""Heuristics and the expert."""

import gymnasium
import numpy as np
import pytest

from compat.errors import InputError
from compat.policies import FEATURES, rollout
from compat.policies.expert import greedy
from compat.policies.heuristics import (
    DensityPolicy,
    EntropyPolicy,
    Farthest,
    Largest,
    RandomPolicy,
    Variance,
    heuristics,
)
from tests.helpers.environments import environment

MASK = np.array([True, False, True, True])


def observed(**features):
    """Four groups, of which some features are not 0."""
    groups = np.zeros((4, len(FEATURES)))
    for name, values in features.items():
        groups[:, list(FEATURES).index(name)] = values
    return {"groups": groups, "all": np.zeros(1)}


@pytest.mark.parametrize(
    ("policy", "feature"),
    [(DensityPolicy(), "density"), (Farthest(), "distance"), (Variance(), "variance"), (EntropyPolicy(), "entropy")],
)
def test_the_largest_open_one_of_its_feature_is_chosen_and_of_several_the_first(policy, feature):
    assert policy(observed(**{feature: [1, 9, 3, 2]}), MASK) == 2
    assert policy(observed(**{feature: [-1, 9, -3, -2]}), MASK) == 0
    assert policy(observed(**{feature: [1, 1, 2, 2]}), MASK) == 2
    assert policy(observed(size=[1, 2, 3, 4]), MASK) == 0


def test_random_chooses_each_open_group_and_by_its_seed():
    first, second, other = RandomPolicy(0), RandomPolicy(0), RandomPolicy(1)
    chosen = [[policy(observed(), MASK) for _ in range(60)] for policy in (first, second, other)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert set(chosen[0]) == {0, 2, 3}
    assert min(chosen[0].count(group) for group in (0, 2, 3)) > 8


def test_another_feature_is_refused():
    with pytest.raises(InputError, match="feature: 'age', expected one of open, size"):
        Largest("age")


def test_the_expert_takes_the_largest_gain_for_each_item_and_leaves_no_trace():
    env = environment()
    env.reset(seed=0)
    env.step(greedy(env))
    state, before = env.state(), env.restore(env.state())[1]["mean_ap"]
    tried = {}
    for group in np.flatnonzero(env.action_masks()).tolist():
        info = env.step(group)[4]
        tried[group] = (info["mean_ap"] - before) / len(info["pairs"])
        env.restore(state)
    assert greedy(env) == max(tried, key=lambda group: tried[group])
    assert env.state().moment is state.moment


def test_the_expert_gains_more_than_what_looks_at_no_label():
    env = gymnasium.wrappers.RecordEpisodeStatistics(environment())
    for seed in (0, 1):
        others = [rollout(env, policy, seed).gain for policy in heuristics(seed).values()]
        assert rollout(env, lambda *_: greedy(env), seed).gain > max(others)


def test_without_labels_there_is_no_expert():
    env = environment(labels=False)
    env.reset(seed=0)
    with pytest.raises(InputError, match="labels: False"):
        greedy(env)
