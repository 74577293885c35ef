"""What an episode says of mAP is what `backfill_curve` measures of its order, to the last digits."""

import numpy as np
import pytest

from compat import backfill_curve
from compat.curve import area, relative_gain
from compat.engine.exact import distances
from compat.policies.ranking import TOP
from tests.helpers.environments import any_open, environment, tied
from tests.helpers.own_pairs import gallery

GALLERIES = {"plain": lambda: gallery(shared=True), "tied": tied}


def episode(env, seed, policy=None):
    """Rewards, mAP at each moment, how many items are migrated then, and the order."""
    observation, info = env.reset(seed=seed)
    policy, rewards, levels, counts, done = policy or any_open(), [], [info["mean_ap"]], [len(info["order"])], False
    while not done:
        observation, reward, done, _, info = env.step(policy(observation, env.action_masks()))
        rewards.append(reward)
        levels.append(info["mean_ap"])
        counts.append(len(info["order"]))
    return np.array(rewards), np.array(levels), np.array(counts), np.array(info["order"])


def curve_at(env, order, counts):
    """mAP when so many items are migrated; ratios are such that as many are."""
    items = len(order)
    points = np.array(counts) / items
    points = np.where(np.floor(points * items).astype(int) < counts, np.nextafter(points, 2), points)
    return backfill_curve(env.scene.embeddings, order, points, merge=env.merge).mean_ap


@pytest.mark.parametrize("kind", GALLERIES)
@pytest.mark.parametrize("seed", [0, 3])
def test_rewards_add_up_to_the_relative_gain_of_the_curve(kind, seed):
    env = environment(GALLERIES[kind]())
    rewards, levels, counts, order = episode(env, seed)
    assert sorted(order) == list(range(len(order)))
    measured = curve_at(env, order, counts)
    assert levels == pytest.approx(measured, abs=1e-12)
    old, new = curve_at(env, order, [0, len(order)])
    gain = relative_gain(area(counts / len(order), measured), old, new)
    assert rewards.sum() == pytest.approx(gain, abs=1e-12)
    assert (env.old, env.new) == pytest.approx((old, new), abs=1e-12)


def test_a_reward_is_the_trapezoid_of_its_step():
    env = environment()
    rewards, levels, counts, order = episode(env, 1)
    heights = (levels - env.old) / (env.new - env.old)
    for step, reward in enumerate(rewards):
        width = (counts[step + 1] - counts[step]) / (len(order) - counts[0])
        assert reward == pytest.approx(width * (heights[step] + heights[step + 1]) / 2)


@pytest.mark.parametrize("kind", GALLERIES)
def test_gains_are_those_of_the_steps_that_they_foresee(kind):
    env = environment(GALLERIES[kind]())
    _, info = env.reset(seed=2)
    env.step(int(np.flatnonzero(env.action_masks())[1]))
    start = env.state()
    before, gains = env.restore(start)[1]["mean_ap"], env.gains()
    assert (np.isfinite(gains) == env.action_masks()).all()
    for group in np.flatnonzero(env.action_masks()):
        info = env.step(group)[4]
        assert gains[group] == pytest.approx((info["mean_ap"] - before) / len(info["pairs"]), abs=1e-12)
        env.restore(start)


@pytest.mark.parametrize("kind", GALLERIES)
def test_what_is_found_is_nearest_by_the_merged_distance(kind):
    env = environment(GALLERIES[kind]())
    env.reset(seed=0)
    env.step(int(np.flatnonzero(env.action_masks())[0]))
    moment = env.state().moment
    e = env.scene.embeddings
    old, new = (distances(*space).numpy() for space in ((e.query_old, e.gallery_old), (e.query_new, e.gallery_new)))
    scales = env.merge.scales
    assert scales is not None
    merged = np.where(moment.migrated, scales[1](new), scales[0](old))
    merged[(e.query_groups[:, None] == e.gallery_groups).numpy()] = np.inf
    found = np.take_along_axis(merged, moment.found, 1)
    assert found == pytest.approx(np.sort(merged, 1)[:, :TOP], abs=1e-9)
    assert all(len(set(row)) == TOP for row in moment.found)


def test_without_labels_nothing_is_said_of_map():
    env = environment(labels=False)
    observation, info = env.reset(seed=0)
    assert "mean_ap" not in info
    same, _ = environment().reset(seed=0)
    _, reward, _, _, info = env.step(int(env.action_masks().argmax()))
    assert reward == 0
    assert "mean_ap" not in info
    assert all((observation[name] == same[name]).all() for name in observation)
