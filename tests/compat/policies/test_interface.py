"""What gymnasium and the libraries on top of it ask of an environment."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3.common.env_checker import check_env as check_of_sb3
from stable_baselines3.common.vec_env import DummyVecEnv

from compat.policies import ID
from tests.helpers.environments import OPTIONS, Anyhow, any_open, environment
from tests.helpers.own_pairs import gallery


@pytest.fixture
def made():
    return gymnasium.make(ID, embeddings=gallery(shared=True), **OPTIONS)


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_both_checkers_pass(made):
    check_env(made.unwrapped)
    check_of_sb3(Anyhow(made))


def test_a_seed_gives_one_episode_and_another_seed_another():
    env, other = environment(), environment()
    first, info = env.reset(seed=4)
    assert same(first, other.reset(seed=4)[0])
    assert same(env.step(3)[0], other.step(3)[0])
    again, info_again = env.reset(seed=4)
    assert same(first, again)
    assert info == info_again
    assert info["pairs"] != env.reset()[1]["pairs"]
    assert info["pairs"] != env.reset(seed=5)[1]["pairs"]


def test_the_order_is_told_step_by_step(made):
    _, info = made.reset(seed=0)
    order = list(info["pairs"])
    assert len(order) == int(0.05 * 240)
    policy, done = any_open(), False
    while not done:
        *_, done, truncated, info = made.step(policy(None, made.get_wrapper_attr("action_masks")()))
        order += info["pairs"]
        assert info["order"] == tuple(order)
        assert not truncated
    assert sorted(order) == list(range(240))


def test_a_group_is_migrated_whole_in_an_order_drawn_by_the_seed():
    env = environment()
    env.reset(seed=0)
    rows = env.state().episode.members[5]
    assert env.step(5)[4]["pairs"] == tuple(rows)
    assert list(rows) != sorted(rows)
    assert not env.action_masks()[5]


def test_from_a_state_it_goes_on_as_before():
    env = environment()
    env.reset(seed=0)
    env.step(1)
    state = env.state()
    ahead = env.step(2)
    env.step(0)
    observation, info = env.restore(state)
    assert same(observation, environment_at(1))
    assert len(info["order"]) == len(ahead[4]["order"]) - len(ahead[4]["pairs"])
    again = env.step(2)
    assert same(ahead[0], again[0])
    assert ahead[1:] == again[1:]


def environment_at(action):
    env = environment()
    env.reset(seed=0)
    return env.step(action)[0]


def test_several_side_by_side_are_each_as_alone():
    several: Any = gymnasium.make_vec(ID, 2, "sync", embeddings=gallery(shared=True), **OPTIONS)
    observation, _ = several.reset(seed=[0, 1])
    alone = environment()
    expected = [alone.reset(seed=seed)[0] for seed in (0, 1)]
    for number, one in enumerate(expected):
        assert same({name: values[number] for name, values in observation.items()}, one)
    assert np.array(several.call("action_masks")).all()
    _, rewards, _, _, infos = several.step([3, 4])
    _, reward, *_, info = alone.step(4)
    assert rewards[1] == reward
    assert infos["order"][1] == info["order"]
    for _ in range(20):  # past the end of the episodes
        masks = np.array(several.call("action_masks"))
        several.step(masks.argmax(1))
    several.close()


def test_masks_are_found_by_sb3_contrib(made):
    vectorised = DummyVecEnv([lambda: made])
    vectorised.reset()
    assert get_action_masks(vectorised).tolist() == [[True] * 8]
    assert get_action_masks(made).tolist() == [True] * 8
