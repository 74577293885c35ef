"""Networks over groups; imitation, alone, after own steps, and with own alternatives contrasted."""

import copy

import numpy as np
import pytest
import torch

from compat.errors import InputError
from compat.policies.collect import demonstrate, transitions
from compat.policies.expert import greedy
from compat.policies.heuristics import RandomPolicy
from compat.policies.imitation import Imitation, Schedule, WorldFirst, fit
from compat.policies.learned import LearnedPolicy
from compat.policies.networks import FAMILIES, build
from compat.policies.rollouts import rollout
from compat.policies.samples import Demonstrations, Transitions, joined, load, of_episodes, save, some_episodes
from compat.policies.self_reflection import SelfReflection, alternatives, contrast, reflected, regrets
from tests.helpers.pairs import normal
from tests.helpers.planted_groups import FEATURES, PlantedGroups

GROUPS = 6


def proxy(before, action, after):
    return float(before["groups"][action, 1])


@pytest.fixture(scope="module")
def expert() -> Demonstrations:
    return demonstrate(PlantedGroups(), range(12), 3, proxy)


@pytest.fixture(scope="module")
def steps() -> Transitions:
    return transitions([rollout(PlantedGroups(), RandomPolicy(seed), seed) for seed in range(12)])


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


def test_the_expert_takes_the_largest_gain_and_records_what_it_tried(expert):
    assert len(expert.action) == 12 * GROUPS
    assert (expert.mask.sum(1).reshape(12, GROUPS) == torch.arange(GROUPS, 0, -1)).all()
    tried = expert.gains.isfinite()
    assert torch.equal(expert.proxies.isfinite(), tried)
    assert not (tried & ~expert.mask).any()
    assert torch.equal(tried.sum(1), expert.mask.sum(1).clamp(max=4))
    env = PlantedGroups()
    for episode in range(2):
        env.reset(seed=episode)
        best = np.argsort(-env.worth)
        rows = expert.episode == episode
        assert expert.action[rows].tolist() == best.tolist()
        assert greedy(env) == best[0]
        first = tried[rows][0]
        worth = torch.tensor(env.worth, dtype=torch.float32)
        torch.testing.assert_close(expert.gains[rows][0][first], (worth / worth.sum())[first])
        torch.testing.assert_close(expert.proxies[rows][0][first], worth[first])
        torch.testing.assert_close(expert.groups[rows][0, :, 1], worth)


def test_own_steps_follow_each_other(steps):
    for episode in range(12):
        rows = steps.episode == episode
        torch.testing.assert_close(steps.groups[rows][1:], steps.next_groups[rows][:-1])
        assert sorted(steps.action[rows].tolist()) == list(range(GROUPS))
    assert steps.next_overall[rows][-1].tolist() == [1, 0]


def test_samples_are_joined_shared_and_read_back(expert, steps, tmp_path):
    both = joined([expert, of_episodes(expert, [3])])
    assert both.episode.unique().tolist() == list(range(13))
    assert torch.equal(both.groups[-GROUPS:], expert.groups[expert.episode == 3])
    few, more = (set(some_episodes(expert, share, seed=5).episode.tolist()) for share in (0.25, 0.5))
    assert (len(few), len(more)) == (3, 6)
    assert few < more
    assert len(set(some_episodes(expert, 0.01, seed=5).episode.tolist())) == 1
    save(expert, tmp_path / "some" / "expert.safetensors")
    torch.testing.assert_close(load(Demonstrations, tmp_path / "some" / "expert.safetensors"), expert, equal_nan=True)
    save(steps, tmp_path / "own.safetensors")
    torch.testing.assert_close(load(Transitions, tmp_path / "own.safetensors"), steps)
    with pytest.raises(InputError, match=r"share: 0, expected one in \(0, 1\]"):
        some_episodes(expert, 0, seed=0)
    with pytest.raises(InputError, match="samples: none"):
        joined([])


def test_alternatives_were_tried_and_fewer_are_among_more(expert):
    fewer = torch.zeros_like(expert.mask)
    for count in (0, 1, 2, 4):
        chosen = alternatives(expert, count, seed=1)
        assert not (chosen & expert.proxies.isnan()).any()
        assert not chosen.gather(1, expert.action[:, None]).any()
        assert torch.equal(chosen.sum(1), (expert.mask.sum(1) - 1).clamp(max=min(count, 3)))
        assert not (fewer & ~chosen).any()
        fewer = chosen
    one = of_episodes(expert, [0])
    often = torch.stack([alternatives(one, 1, seed=s)[0] for s in range(300)]).sum(0)
    assert sorted((often > 60).tolist()) == [False] * 3 + [True] * 3


def test_regrets_against_a_loop(expert):
    tried = alternatives(expert, 2, seed=2)
    rising = torch.arange(1, 1 + len(expert.action))[:, None]
    for outcome in ("gains", "proxies"):
        values = getattr(expert, outcome) * rising
        found = regrets(expert._replace(**{outcome: values}), tried, outcome)
        for episode in range(12):
            rows = (expert.episode == episode).nonzero().flatten().tolist()
            pairs = [(r, m) for r in rows for m in range(GROUPS) if tried[r, m]]
            differences = [float(values[r, expert.action[r]] - values[r, m]) for r, m in pairs]
            mean = sum(map(abs, differences)) / len(pairs)
            for (r, m), difference in zip(pairs, differences, strict=True):
                assert float(found[r, m]) == pytest.approx(difference / mean, abs=1e-4)
        assert (found[~tried] == 0).all()
    with pytest.raises(InputError, match="gains: an alternative without an outcome"):
        regrets(expert, ~expert.mask, "gains")


def test_the_contrast_by_hand():
    scores = torch.tensor([[1.0, 0.0, 9.0]], requires_grad=True)
    nothing = -torch.inf
    loss = contrast(scores, torch.tensor([[0.0, -1.0, nothing]]))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    loss = contrast(scores, torch.tensor([[0.0, 0.0, nothing]]))
    p = 1 / (1 + np.exp(-1))
    assert loss.item() == pytest.approx(0.5 * np.log(0.5 / p) + 0.5 * np.log(0.5 / (1 - p)), abs=1e-6)
    (slope,) = torch.autograd.grad(loss, scores)
    assert slope[0].tolist() == pytest.approx([p - 0.5, 0.5 - p, 0], abs=1e-6)
    assert contrast(scores, torch.tensor([[0.0, nothing, nothing]])).item() == 0


def test_without_alternatives_reflection_is_imitation(expert):
    torch.manual_seed(0)
    scores, batch = torch.randn(expert.mask.shape), reflected(expert, 0, 0, "gains")
    assert SelfReflection(network()).imitation(scores, batch) == Imitation(network()).imitation(scores, expert)
    more = SelfReflection(network()).imitation(scores, reflected(expert, 2, 0, "gains"))
    assert more > Imitation(network()).imitation(scores, expert)


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
            "reflection": lambda: (SelfReflection(network()), [reflected(expert, 2, 0, "gains")], [20]),
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
