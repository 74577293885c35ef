"""What a policy sees: no label, no direction of a space, and what the names say."""

import numpy as np
import pytest
import torch

from compat.policies import FEATURES, OVERALL
from compat.policies.features import LIMIT, kept, ratio
from tests.helpers.environments import any_open, changed, environment
from tests.helpers.own_pairs import DIM, gallery
from tests.helpers.pairs import rotation

NAMES = list(FEATURES)


def watched(env, seed=0):
    """All observations of an episode whose actions are drawn, and the order."""
    observation, info = env.reset(seed=seed)
    seen, policy = [observation], any_open(seed)
    while (mask := env.action_masks()).any():
        observation, *_, info = env.step(policy(observation, mask))
        seen.append(observation)
    return np.stack([one["groups"] for one in seen]), np.stack([one["all"] for one in seen]), info["order"]


def column(observation, name):
    return observation["groups"][:, NAMES.index(name)]


def distances(rows, others):
    return 1 - torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(others, dim=1).T


@pytest.mark.parametrize("turned", [("query_old", "gallery_old"), ("query_new", "gallery_new")])
def test_a_rotation_of_a_space_changes_nothing(turned):
    e = gallery(shared=True)
    matrix = rotation(DIM, seed=9)
    again = changed(e, **{name: getattr(e, name) @ matrix for name in turned})
    groups, overall, order = watched(environment(e))
    groups_after, overall_after, order_after = watched(environment(again))
    assert order == order_after
    assert groups_after == pytest.approx(groups, abs=1e-3)
    assert overall_after == pytest.approx(overall, abs=1e-3)


def test_labels_change_nothing():
    e = gallery(shared=True)
    some = torch.randperm(len(e.gallery_labels), generator=torch.Generator().manual_seed(0))
    other = changed(e, query_labels=e.query_labels[some], gallery_labels=e.gallery_labels[some])
    seen = [watched(environment(one, labels=False)) for one in (e, other)]
    assert all(np.array_equal(*pair) for pair in zip(*seen, strict=True))


def test_new_embeddings_of_what_is_not_migrated_change_nothing():
    e = gallery(shared=True)
    env = environment(e, labels=False)
    observation, info = env.reset(seed=0)
    hidden = torch.ones(len(e.gallery_new), dtype=torch.bool)
    hidden[list(info["order"])] = False
    noise = torch.where(hidden[:, None], torch.randn_like(e.gallery_new), e.gallery_new)
    same, _ = environment(changed(e, gallery_new=noise), labels=False).reset(seed=0)
    assert all(np.array_equal(observation[name], same[name]) for name in same)


@pytest.mark.parametrize("seed", range(3))
def test_observations_are_in_their_space_and_the_last_has_all_done(seed):
    env = environment()
    groups, overall, _ = watched(env, seed)
    assert groups.dtype == overall.dtype == np.float32
    assert all(env.observation_space.contains({"groups": g, "all": a}) for g, a in zip(groups, overall, strict=True))
    assert np.abs(groups).max() < LIMIT
    progress = overall[:, list(OVERALL).index("progress")]
    assert (np.diff(progress) > 0).all()
    assert progress[-1] == 1
    assert groups[-1][:, NAMES.index("open")].max() == 0


def test_features_are_what_their_names_say():
    env = environment()
    env.reset(seed=0)
    observation = env.step(2)[0]
    episode, _, moment = env.state()
    old = env.scene.embeddings.gallery_old
    rest = np.concatenate(episode.members)
    apart = distances(old, old).fill_diagonal_(torch.inf)
    crowd = apart.topk(10, largest=False).values.mean(1).numpy()
    first = list(moment.order[:12])
    far, far_first = (apart[:, list(rows)].min(1).values.numpy() for rows in (moment.order, first))
    found = moment.found[moment.found >= 0]
    for group, rows in enumerate(episode.members):
        is_open = group != 2
        expected = {
            "open": float(is_open),
            "size": len(rows) * len(episode.members) / len(rest),
            "density": crowd.mean() / crowd[rows].mean(),
            "distance": is_open * far[rows].mean() / far_first[rest].mean(),
            "served": np.isin(found, rows).mean() / (len(rows) / len(old)),
            "entropy": 1,
        }
        for name, value in expected.items():
            assert column(observation, name)[group] == pytest.approx(value, rel=1e-4), name
    assert observation["all"][0] == pytest.approx(len(moment.order) / len(old))


def test_errors_are_those_of_the_nearest_migrated_items_before_they_were_learned():
    env = environment()
    env.reset(seed=0)
    before, world = env.state().moment, env.state().episode.world
    observation = env.step(1)[0]
    episode, features, moment = env.state()
    new = env.scene.new[moment.rows]
    assert moment.errors[moment.rows] == pytest.approx(world.errors(before.known, moment.rows, new))
    nearest = np.argsort(-features.near[3, moment.order])[:10]
    expected = moment.errors[moment.order[nearest]].mean() / episode.start.errors[episode.start.rows].mean()
    assert column(observation, "error")[3] == pytest.approx(expected, rel=1e-5)


def test_an_entropy_is_seen_as_a_ratio():
    entropy = np.arange(240.0)
    env = environment(entropy=entropy)
    observation, _ = env.reset(seed=0)
    means = [entropy[rows].mean() / entropy.mean() for rows in env.state().episode.members]
    assert column(observation, "entropy") == pytest.approx(means, rel=1e-5)


def test_ratios_of_nothing():
    assert ratio(np.array([0.0, 1.0, 3.0]), np.array([0.0, 0.0, 2.0])).tolist() == [1.0, LIMIT, 1.5]


def test_what_is_kept_is_counted_wherever_it_stands_and_nothing_is_not():
    before, now = np.array([[1, 2, 3], [4, -1, -1]]), np.array([[3, 1, 9], [4, 5, -1]])
    assert kept(before, now).tolist() == [2, 1]
