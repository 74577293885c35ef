"""Groups, and the world model by which they are cut: against what they stand for."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from compat.experience.regressions import unit
from compat.policies.groups import cells_of, density, groups_of
from compat.policies.world import ALPHA, GAMMA, QuickWorld

SEEN, UNSEEN = np.arange(20), np.arange(20, 60)


@pytest.fixture
def spaces():
    random = np.random.default_rng(0)
    old = unit(random.normal(size=(60, 5)))
    return old, unit(old @ random.normal(size=(5, 7)) + 0.1 * random.normal(size=(60, 7)))


def exact(old, new, rows):
    kernel = RBF((2 * GAMMA) ** -0.5, "fixed")
    return GaussianProcessRegressor(kernel, alpha=ALPHA, optimizer=None).fit(old[rows], new[rows])


def test_with_every_item_a_centre_it_is_the_gaussian_process(spaces):
    old, new = spaces
    world = QuickWorld(old, np.arange(60))
    known = world.learned(world.learned(world.nothing(7), SEEN[:8], new[SEEN[:8]]), SEEN[8:], new[SEEN[8:]])
    mean, deviation = exact(old, new, SEEN).predict(old[UNSEEN], return_std=True)
    assert world.errors(known, UNSEEN, new[UNSEEN]) == pytest.approx(((mean - new[UNSEEN]) ** 2).sum(1), rel=1e-3)
    assert world.variance(known, UNSEEN) == pytest.approx(deviation[:, 0] ** 2, rel=1e-3)


def test_errors_of_pairs_left_out_are_those_of_models_without_them(spaces):
    old, new = spaces
    world = QuickWorld(old, np.arange(60))
    known = world.learned(world.nothing(7), SEEN, new[SEEN])
    without = [exact(old, new, np.delete(SEEN, row)).predict(old[[row]])[0] for row in SEEN]
    expected = ((np.array(without) - new[SEEN]) ** 2).sum(1)
    assert world.errors_left_out(known, SEEN, new[SEEN]) == pytest.approx(expected, rel=1e-3)


def test_with_few_centres_it_is_less_sure_never_more(spaces):
    old, new = spaces
    few, all_of_them = QuickWorld(old, np.arange(5)), QuickWorld(old, np.arange(60))
    few_known, known = (world.learned(world.nothing(7), SEEN, new[SEEN]) for world in (few, all_of_them))
    assert few.variance(few_known, UNSEEN).mean() > all_of_them.variance(known, UNSEEN).mean()


def test_cells_are_the_clusters_that_are_there():
    random = np.random.default_rng(0)
    truth = np.arange(90) % 3
    old = unit(np.eye(3, 6)[truth] + 0.05 * random.normal(size=(90, 6))).astype(np.float32)
    cell, entropy = cells_of(old, 3, seed=1)
    assert {tuple(np.unique(cell[truth == one])) for one in range(3)} == {(0,), (1,), (2,)}
    assert entropy.max() < 0.1
    between = unit(np.ones((1, 6))).astype(np.float32)
    assert cells_of(np.concatenate([old, between]), 3, seed=1)[1].argmax() == 90


def test_levels_cut_each_cell_by_variance_into_as_many_items():
    random = np.random.default_rng(0)
    cell, variance = random.integers(0, 4, 101), random.normal(size=101)
    group = groups_of(cell, variance, 3)
    assert (group // 3 == cell).all()
    for one in range(4):
        parts = [variance[group == 3 * one + level] for level in range(3)]
        assert np.ptp([len(part) for part in parts]) <= 1
        assert parts[0].max() < parts[1].min() < parts[1].max() < parts[2].min()


def test_density_is_the_mean_distance_to_the_nearest_others():
    old = unit(np.random.default_rng(0).normal(size=(30, 4)))
    apart = 1 - old @ old.T
    np.fill_diagonal(apart, np.inf)
    assert density(old.astype(np.float32)) == pytest.approx(np.sort(apart, 1)[:, :10].mean(1), abs=1e-5)
    assert density(old[:4].astype(np.float32)) == pytest.approx(np.sort(apart[:4, :4], 1)[:, :3].mean(1), abs=1e-5)
