"""Networks over groups; imitation, alone, after own steps, and with reflection on what own actions lead to."""

import copy

import numpy as np
import pytest
import torch

from compat.errors import InputError
from compat.policies.collect import demonstrate, own_steps
from compat.policies.expert import greedy
from compat.policies.imitation import Imitation, Schedule, Units, WorldFirst, fit
from compat.policies.learned import LearnedPolicy
from compat.policies.networks import FAMILIES, build
from compat.policies.rollouts import rollout
from compat.policies.samples import NONE, Demonstrations, Transitions, joined, load, of_episodes, save, some_episodes
from compat.policies.self_reflection import SelfReflection, differences
from tests.helpers.pairs import normal
from tests.helpers.planted_groups import FEATURES, PlantedGroups

GROUPS = 6


@pytest.fixture(scope="module")
def expert() -> Demonstrations:
    return demonstrate(PlantedGroups(), range(12), 3)


@pytest.fixture(scope="module")
def steps(expert) -> Transitions:
    return own_steps(expert, 3)


def network(family="deep_sets", seed=0):
    return build(family, FEATURES, 2, seed)


def trained(module, stages, updates, folder):
    torch.manual_seed(0)
    return fit(module, stages, updates, folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_groups_in_another_order_have_the_same_scores_in_that_order(family):
    one = network(family)
    with torch.no_grad():
        one.score.weight.normal_(generator=torch.Generator().manual_seed(0))
    one.standardise(normal(50, GROUPS, FEATURES, seed=1), normal(50, 2, seed=2))
    groups, overall, action = normal(5, GROUPS, FEATURES, seed=3), normal(5, 2, seed=4), torch.tensor([0, 1, 2, 3, 4])
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    here, there = one(groups, overall), one(groups[:, order], overall)
    assert one.scores(here).std() > 0
    torch.testing.assert_close(one.scores(here)[:, order], one.scores(there))
    torch.testing.assert_close(one.value(here), one.value(there))
    of_groups, of_all = one.change(here, action)
    moved, of_all_moved = one.change(there, order.argsort()[action])
    torch.testing.assert_close(of_groups[:, order], moved)
    torch.testing.assert_close(of_all, of_all_moved)
    assert one(groups[:, :3], overall).shape == (5, 3, 32)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_untrained_network_is_uniform_and_its_seed_is_its_own(family):
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    one, same, other = network(family, 1), network(family, 1), network(family, 2)
    assert torch.equal(state, torch.random.get_rng_state())
    assert (one.scores(one(normal(4, GROUPS, FEATURES), normal(4, 2))) == 0).all()
    weights = [torch.cat([p.flatten() for p in n.parameters()]) for n in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_observations_are_standardised_and_what_never_changes_does_no_harm():
    groups, overall = normal(40, GROUPS, FEATURES) * 7 + 3, torch.ones(40, 2)
    one = network()
    one.standardise(groups, overall)
    flat = groups.flatten(0, 1)
    torch.testing.assert_close(one.mean, torch.cat([flat.mean(0), torch.ones(2)]))
    torch.testing.assert_close(one.deviation, torch.cat([flat.std(0, correction=0), torch.ones(2)]))
    torch.testing.assert_close(one(groups + 1e6, overall), one(groups + 1e7, overall))


def test_wrong_shapes_and_names_are_refused():
    with pytest.raises(InputError, match=r"observation: shapes \(2, 6, 3\) and \(2, 2\), expected 6 features"):
        network()(normal(2, GROUPS, 3), normal(2, 2))
    with pytest.raises(InputError, match="family: 'sets', expected one of deep_sets, transformer"):
        build("sets", 1, 1, 0)


def test_the_expert_takes_the_largest_gain_and_others_are_tried_at_its_states(expert):
    assert len(expert.action) == 12 * GROUPS
    assert (expert.mask.sum(1).reshape(12, GROUPS) == torch.arange(GROUPS, 0, -1)).all()
    assert torch.equal((expert.tried != NONE).sum(1), expert.mask.sum(1).clamp(max=4))
    for state, mask in zip(expert.tried, expert.mask, strict=True):
        found = state[state != NONE].tolist()
        assert len(set(found)) == len(found)
        assert mask[found].all()
    env = PlantedGroups()
    for episode in range(2):
        env.reset(seed=episode)
        best = np.argsort(-env.worth)
        rows = expert.episode == episode
        assert expert.action[rows].tolist() == best.tolist()
        assert greedy(env) == best[0]
        torch.testing.assert_close(expert.groups[rows][0, :, 1], torch.tensor(env.worth, dtype=torch.float32))
    assert len({tuple(row) for row in expert.tried[::GROUPS, 1:].tolist()}) > 3


def test_what_an_action_leads_to_is_the_observation_after_it(expert):
    """The done groups are those before and the tried one; where nothing was tried is nothing."""
    for state in range(len(expert.action)):
        for column, action in enumerate(expert.tried[state].tolist()):
            after, overall = expert.next_groups[state, column], expert.next_overall[state, column]
            if action == NONE:
                assert (after == 0).all()
                assert (overall == 0).all()
                continue
            expected = expert.groups[state].clone()
            expected[action, 2] = 1
            torch.testing.assert_close(after, expected)
            torch.testing.assert_close(overall[0], expert.overall[state, 0] + 1 / GROUPS)
    going_on = expert.episode[1:] == expert.episode[:-1]
    torch.testing.assert_close(expert.next_groups[:-1, 0][going_on], expert.groups[1:][going_on])


def test_own_steps_are_those_of_others_at_the_expert_s_states_and_fewer_are_among_more(expert):
    before = 0
    for count in (1, 2, 3, 8):
        steps = own_steps(expert, count)
        expected = [
            (state, column)
            for state in range(len(expert.action))
            for column in range(1, 1 + min(count, 3))
            if expert.tried[state, column] != NONE
        ]
        states, columns = torch.tensor(expected).T
        assert torch.equal(steps.action, expert.tried[states, columns])
        assert torch.equal(steps.groups, expert.groups[states])
        assert torch.equal(steps.next_groups, expert.next_groups[states, columns])
        assert torch.equal(steps.next_overall, expert.next_overall[states, columns])
        assert (steps.action != expert.action[states]).all()
        assert len(states) > before or count == 8
        before = len(states)


def test_samples_are_joined_shared_and_read_back(expert, tmp_path):
    both = joined([expert, of_episodes(expert, [3])])
    assert both.episode.unique().tolist() == list(range(13))
    assert torch.equal(both.groups[-GROUPS:], expert.groups[expert.episode == 3])
    few, more = (set(some_episodes(expert, share, seed=5).episode.tolist()) for share in (0.25, 0.5))
    assert (len(few), len(more)) == (3, 6)
    assert few < more
    assert len(set(some_episodes(expert, 0.01, seed=5).episode.tolist())) == 1
    save(expert, tmp_path / "some" / "expert.safetensors")
    torch.testing.assert_close(load(tmp_path / "some" / "expert.safetensors"), expert)
    with pytest.raises(InputError, match=r"share: 0, expected one in \(0, 1\]"):
        some_episodes(expert, 0, seed=0)
    with pytest.raises(InputError, match="samples: none"):
        joined([])


def test_differences_are_those_of_the_expert_s_next_state_by_a_loop(expert):
    found = differences(expert, 2)
    pairs = [(n, k) for n in range(len(expert.action)) for k in (1, 2) if expert.tried[n, k] != NONE]
    assert len(found.states) == len(pairs)
    for row, (state, column) in enumerate(pairs):
        assert (found.states[row], found.action[row]) == (state, expert.tried[state, column])
        torch.testing.assert_close(found.groups[row], expert.next_groups[state, 0] - expert.next_groups[state, column])
        expected = torch.zeros(GROUPS)
        expected[expert.action[state]], expected[found.action[row]] = 1, -1
        torch.testing.assert_close(found.groups[row, :, 2], expected)
        torch.testing.assert_close(found.overall[row], torch.zeros(2))


def test_units_are_standard_deviations_by_hand():
    units = Units(torch.tensor([[[1.0, 5.0], [3.0, 5.0]], [[1.0, 5.0], [3.0, 5.0]]]), torch.tensor([[0.0], [4.0]]))
    predicted = torch.zeros(1, 2, 2), torch.zeros(1, 1)
    loss = units.error(predicted, torch.tensor([[[2.0, 0.0], [0.0, 3.0]]]), torch.tensor([[6.0]]))
    assert loss.item() == pytest.approx((2**2 + 3**2) / 4 + 3**2)


def test_reflection_adds_the_error_of_the_differences_to_the_loss_of_imitation(expert):
    one = network()
    one.standardise(expert.groups, expert.overall)
    with torch.no_grad():
        one.score.weight.normal_(generator=torch.Generator().manual_seed(0))
        found = differences(expert, 2)
        guessed = one.change(one(expert.groups, expert.overall)[found.states], found.action)
        by_hand = 0.0
        for guess, true in zip(guessed, (found.groups, found.overall), strict=True):
            spread = true.flatten(0, -2).numpy().std(0)
            by_hand += np.square(guess.numpy() - true.numpy() / np.where(spread > 1e-6, spread, 1)).mean()
        alone, both = (m.training_step(expert, 0) for m in (Imitation(one), SelfReflection(one, expert, 2)))
    assert both.item() - alone.item() == pytest.approx(by_hand, rel=1e-4)
    assert by_hand > 0.1


def test_without_alternatives_reflection_is_imitation(expert):
    last = expert.mask.sum(1) == 1
    ends = Demonstrations(*(column[last] for column in expert))
    module = SelfReflection(network(), expert, 2)
    assert module.beside(torch.zeros(len(ends.action), GROUPS, 32), ends) == {}
    assert module.training_step(ends, 0) == Imitation(network()).training_step(ends, 0)


def test_reflection_is_learned_without_any_reward(expert, tmp_path):
    """No reward and no outcome is among the samples."""
    assert set(Demonstrations._fields) == {
        "groups", "overall", "mask", "tried", "next_groups", "next_overall", "episode"
    }  # fmt: skip
    one = network()
    one.standardise(expert.groups, expert.overall)
    module = SelfReflection(one, expert, 3)

    def reflection():
        return module.beside(one(expert.groups, expert.overall), expert)["reflection"].item()

    before = reflection()
    trained(module, [expert], [300], tmp_path)
    assert reflection() < 0.5 * before
    table = (tmp_path / "metrics.csv").read_text().splitlines()
    last = dict(zip(table[0].split(","), table[-1].split(","), strict=True))
    assert float(last["agreement"]) > 0.9
    assert float(last["reflection"]) < 0.5 * before


@pytest.mark.parametrize("family", FAMILIES)
def test_imitation_finds_what_the_expert_goes_by(family, expert, tmp_path):
    one = network(family)
    one.standardise(expert.groups, expert.overall)
    policy = LearnedPolicy(trained(Imitation(one), [expert], [300], tmp_path))
    env = PlantedGroups()
    right = []
    for seed in range(100, 120):
        order = rollout(env, policy, seed).order
        right.append((order == np.argsort(-env.worth)).mean())
    assert np.mean(right) > 0.8
    table = (tmp_path / "metrics.csv").read_text().splitlines()
    assert len(table) == 11
    last = dict(zip(table[0].split(","), table[-1].split(","), strict=True))
    assert float(last["agreement"]) > 0.9
    assert last["step"] == "299"


@pytest.mark.parametrize("kind", ["imitation", "world first", "reflection"])
def test_a_resumed_training_is_the_same_training(kind, expert, steps, tmp_path, monkeypatch):
    def module():
        return {
            "imitation": lambda: (Imitation(network()), [expert], [20]),
            "world first": lambda: (WorldFirst(network(), steps), [steps, expert], [9, 11]),
            "reflection": lambda: (SelfReflection(network(), expert, 2), [expert], [20]),
        }[kind]()

    first, stages, updates = module()
    whole = trained(first, stages, updates, tmp_path / "whole")
    interrupted, stages, updates = module()
    step, calls = interrupted.training_step, []

    def stop(batch, batch_idx):
        calls.append(batch_idx)
        if len(calls) == 12:
            raise KeyError("the power fails")
        return step(batch, batch_idx)

    monkeypatch.setattr(interrupted, "training_step", stop)
    with pytest.raises(KeyError):
        trained(interrupted, stages, updates, tmp_path / "parts")
    fresh, stages, updates = module()
    counted, finished = [], fresh.training_step

    def count(batch, batch_idx):
        counted.append(batch_idx)
        return finished(batch, batch_idx)

    monkeypatch.setattr(fresh, "training_step", count)
    resumed = trained(fresh, stages, updates, tmp_path / "parts")
    assert len(counted) == 20 - 10
    for name, value in resumed.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name], msg=name)


def test_own_steps_teach_what_they_lead_to_and_take_no_more_updates(expert, steps, tmp_path):
    one = network()
    one.standardise(expert.groups, expert.overall)
    module = WorldFirst(one, steps)
    before = module.prediction(steps).item()
    untouched = copy.deepcopy(one.score.state_dict())
    trained(module, [steps, expert], [300, 0], tmp_path / "world")
    assert module.prediction(steps).item() < 0.2 * before
    assert all(torch.equal(value, untouched[name]) for name, value in one.score.state_dict().items())
    schedule, drawn = Schedule([72, 72], [100, 200], 32, 0), []
    for epoch in range(10):
        schedule.set_epoch(epoch)
        drawn += list(schedule)
    assert [stage for stage, _ in drawn] == [0] * 100 + [1] * 200
    assert all(len(rows) == 32 for _, rows in drawn)


def test_updates_that_epochs_do_not_divide_are_refused(expert, tmp_path):
    with pytest.raises(InputError, match="updates: 15, expected a multiple of 10"):
        fit(Imitation(network()), [expert], [15], tmp_path)
