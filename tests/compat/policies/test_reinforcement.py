"""MaskablePPO on a network over groups: it learns what pays, goes on from what was learned, and respects the mask."""

import numpy as np
import pytest
import torch

from compat.errors import InputError
from compat.policies import reinforcement
from compat.policies.learned import LearnedPolicy
from compat.policies.networks import build
from compat.policies.rollouts import rollout
from tests.helpers.planted_groups import FEATURES, PlantedGroups


def returns(network, seeds=range(100, 130)):
    found = []
    for seed in seeds:
        env = PlantedGroups()
        order = rollout(env, LearnedPolicy(network), seed).order
        found.append(float(np.cumsum(env.worth[order]).sum() / env.worth.sum() / env.groups))
    return float(np.mean(found))


def test_a_policy_is_learned_from_rewards_alone():
    start = build("deep_sets", FEATURES, 2, 0)
    weights = {name: value.clone() for name, value in start.state_dict().items()}
    learned = reinforcement.reinforce(start, [PlantedGroups] * 4, 4000, 0, horizon=60, rate=3e-3)
    assert returns(learned) > returns(start) + 0.1
    assert all(torch.equal(value, weights[name]) for name, value in start.state_dict().items())


def test_the_policy_s_distribution_is_that_of_the_masked_scores():
    start = build("transformer", FEATURES, 2, 0)
    with torch.no_grad():
        start.score.weight.normal_(generator=torch.Generator().manual_seed(0))
    env = PlantedGroups()
    policy = reinforcement.GroupPolicy(
        env.observation_space, env.action_space, lambda _: 1e-3,
        features_extractor_class=reinforcement.ScoresAndValue, features_extractor_kwargs={"network": start},
    )  # fmt: skip
    observation, _ = env.reset(seed=0)
    env.step(2)
    batch = {name: torch.as_tensor(value)[None] for name, value in observation.items()}
    found = getattr(policy.get_distribution(batch, env.action_masks()[None]).distribution, "probs")[0]  # noqa: B009
    with torch.no_grad():
        encodings = start(batch["groups"], batch["all"])
        scores = start.scores(encodings)[0].masked_fill(~torch.as_tensor(env.action_masks()), -torch.inf)
        torch.testing.assert_close(found, scores.softmax(0))
        torch.testing.assert_close(policy.predict_values(batch), start.value(encodings))


def test_nothing_is_left_in_the_folder_of_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    reinforcement.reinforce(build("deep_sets", FEATURES, 2, 0), [PlantedGroups], 8, 0, horizon=8)
    assert list(tmp_path.iterdir()) == []


def test_no_steps_are_refused():
    with pytest.raises(InputError, match="steps: 0, expected at least 1"):
        reinforcement.reinforce(build("deep_sets", FEATURES, 2, 0), [PlantedGroups], 0, 0)
