"""World models on planted maps: learned to the noise, honest about it, and nothing made of what holds nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from compat.errors import InputError
from compat.experience import WORLDS, Prior, regressions
from compat.experience.world import NO_PRIOR, held_back
from tests.helpers.pairs import normal, rotation

NOISE = 0.03
DIM = 6


def spaces(rows: int, bend: float, seed: int = 0):
    """Old and new unit vectors, (N, 6): the new ones are the old ones rotated, bent and blurred."""
    old = F.normalize(normal(rows, DIM, seed=seed), dim=1)
    turned = old @ rotation(DIM)
    bent = F.normalize(turned + bend * torch.sin(2 * old @ normal(DIM, DIM, seed=5) / DIM**0.5), dim=1)
    return old, bent + NOISE * normal(rows, DIM, seed=seed + 1), bent


def fitted(kind: str, old, new, prior=NO_PRIOR):
    world = WORLDS[kind](prior)
    world.fit(old, new)
    return world


def error(world, old, clean) -> float:
    return float((world.forward(old)[0] - clean).square().mean().sqrt())


@pytest.mark.parametrize("kind", WORLDS)
def test_a_rotation_is_learned_below_the_noise_and_back(kind):
    old, new, _ = spaces(400, bend=0)
    unseen, _, clean = spaces(100, bend=0, seed=7)
    world = fitted(kind, old, new)
    assert error(world, unseen, clean) < NOISE
    assert float((world.back(clean) - unseen).square().mean().sqrt()) < NOISE


def test_a_smooth_map_is_learned_to_the_noise_by_the_gaussian_process():
    old, new, _ = spaces(1200, bend=0.5)
    unseen, _, clean = spaces(200, bend=0.5, seed=7)
    errors = {kind: error(fitted(kind, old, new), unseen, clean) for kind in WORLDS}
    assert errors["gaussian"] < NOISE
    assert errors["gaussian"] < errors["neighbours"] < errors["rotation"]
    assert errors["ridge"] < errors["rotation"]


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize(("rows", "bend"), [(120, 0.0), (600, 0.5)])
def test_ninety_of_a_hundred_lie_in_their_interval(kind, rows, bend):
    covered = []
    for seed in (0, 20, 40):
        old, new, _ = spaces(rows, bend, seed)
        unseen, seen_later, _ = spaces(500, bend, seed + 10)
        mean, variance = fitted(kind, old, F.normalize(new, dim=1)).forward(unseen)
        covered.append(((F.normalize(seen_later, dim=1) - mean).abs() <= 1.645 * variance.sqrt()).float().mean().item())
    assert 0.85 <= np.mean(covered) <= 0.95


def test_many_pairs_by_nystroem_features_are_nearly_the_exact_process(monkeypatch):
    old, new, _ = spaces(800, bend=0.5)
    unseen, _, _ = spaces(200, bend=0.5, seed=7)
    x, y, asked = old.double().numpy(), regressions.unit(new), unseen.double().numpy()
    found = []
    for exact in (1000, 400):
        monkeypatch.setattr(regressions, "EXACT", exact)
        monkeypatch.setattr(regressions, "CENTRES", 300)
        process = regressions.Gaussian(regressions.Rotation(), gamma=0.125, alpha=0.001)
        process.fit(x, y)
        found.append((process.mean(asked), process.variance(asked)))
    (mean, variance), (near, near_variance) = found
    assert process.features is not None
    assert np.abs(mean - near).max() < 0.01
    np.testing.assert_allclose(near_variance, variance, rtol=0.2)


def test_a_prior_is_started_from_where_it_is_better_than_a_rotation_and_only_there():
    old, new, clean = spaces(30, bend=0.5)
    unseen, _, clean = spaces(100, bend=0.5, seed=7)

    def right(rows):
        turned = rows @ rotation(DIM)
        return F.normalize(turned + 0.5 * torch.sin(2 * rows @ normal(DIM, DIM, seed=5) / DIM**0.5), dim=1)

    alone = error(fitted("gaussian", old, new), unseen, clean)
    assert error(fitted("gaussian", old, new, Prior(forward=right)), unseen, clean) < 0.5 * alone
    wrong = Prior(forward=lambda rows: rows.flip(1))
    assert error(fitted("gaussian", old, new, wrong), unseen, clean) == pytest.approx(alone)


def test_a_prior_back_is_given_rows_as_they_are():
    old, new, _ = spaces(40, bend=0)
    lengths = []

    def back(rows):
        lengths.append(rows.norm(dim=1))
        return rows @ rotation(DIM).T

    fitted("rotation", old, 3 * new, Prior(back=back)).back(3 * new)
    assert float(torch.cat(lengths).min()) > 2


@pytest.mark.parametrize("kind", WORLDS)
def test_fewer_pairs_than_dimensions_and_another_dimension_after_it(kind):
    old, new = F.normalize(normal(6, 20), dim=1), F.normalize(normal(6, 12, seed=1), dim=1)
    world = fitted(kind, old, new)
    mean, variance = world.forward(normal(5, 20, seed=2))
    assert mean.shape == variance.shape == (5, 12)
    assert world.back(new).shape == (6, 20)
    assert torch.isfinite(mean).all()
    assert (variance > 0).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (torch.ones(0, 3), torch.ones(0, 3), "pairs: none, expected two or more"),
        (torch.ones(1, 3), torch.ones(1, 3), "pairs: 1, expected two or more"),
        (torch.ones(4, 3), normal(4, 3), "pairs: all 4 old embeddings are equal, expected different ones"),
        (normal(4, 3), torch.ones(4, 3), "pairs: all 4 new embeddings are equal, expected different ones"),
        (normal(4, 3), normal(5, 3), "pairs: 4 old and 5 new embeddings, expected as many of each"),
        (normal(4, 3), normal(4, 3).index_fill(0, torch.tensor(2), torch.nan), "new embedding of pair 2, expected"),
    ],
)
def test_pairs_that_nothing_can_be_learned_from(old, new, message):
    with pytest.raises(InputError, match=message):
        fitted("gaussian", old, new)


def test_the_way_back_before_anything_was_fitted():
    with pytest.raises(InputError, match="pairs: none, expected a call of fit"):
        WORLDS["rotation"]().back(normal(2, 3))


def test_few_pairs_are_all_held_back_once_and_many_in_part():
    few = held_back(10)
    assert sorted(np.concatenate([held for _, held in few])) == list(range(10))
    assert all(len(np.intersect1d(seen, held)) == 0 and len(seen) + len(held) == 10 for seen, held in few)
    ((seen, held),) = held_back(5000)
    assert (len(seen), len(held)) == (750, 250)
    assert len(held_back(2)) == 2
