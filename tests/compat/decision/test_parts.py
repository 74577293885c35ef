"""Calendar, losers, calibration, overlap, signs and samples: hand-made cases and slow references."""

import numpy as np
import pytest
import torch

from compat import Embeddings, backfill_order
from compat.decision.calendar import MigrationSize, backfill, fusion, nothing, switch
from compat.decision.calibration import LEVELS, below, calibration, gain_reached
from compat.decision.losers import class_falls, falls, lower_classes, lowest, moments
from compat.decision.overlap import nearest, overlap_curve
from compat.decision.sample import sample
from compat.decision.signs import close_rows, equal_rows, zero_rows
from compat.engine.exact import distances
from tests.helpers.spaces import random_embeddings

PLACE = MigrationSize(items=7200, old_dim=10, new_dim=20, rate=2.0)
PROGRESS, VALUES = np.array([0.0, 0.5, 1.0]), np.array([0.2, 0.4, 0.8])


def test_what_alternatives_cost():
    assert PLACE.hours == 1.0
    assert PLACE._replace(rate=None).hours is None
    one = backfill(PLACE, PROGRESS, VALUES, passes=2, rewritten=0.5)
    assert one.meanwhile == pytest.approx(0.45)
    assert (one.end, one.gallery_passes, one.query_passes, one.end_passes) == (0.8, 7200, 2, 1)
    assert (one.written, one.kept) == (4 * 7200 * 20 * 1.5, 4 * 7200 * 20)
    waiting = switch(PLACE, 0.2, 0.8)
    assert (waiting.meanwhile, waiting.end, waiting.kept) == (pytest.approx(0.2), 0.8, 4 * 7200 * 30)
    both = fusion(PLACE, PROGRESS, VALUES)
    assert (both.query_passes, both.end_passes, both.kept) == (2, 2, 4 * 7200 * 30)
    none = nothing(PLACE, 0.2)
    assert (none.gallery_passes, none.written, none.end, none.meanwhile) == (0, 0, 0.2, pytest.approx(0.2))


def test_moments_count_who_is_worse_off():
    before = np.array([0.5, 0.5, 0.5, 0.5])
    values = np.array([[0.5, 0.4], [0.5, 0.6], [0.5, 0.2], [0.5, 0.5]])
    flips = np.array([[0, 1], [0, 0], [0, 1], [0, 0]])
    start, then = moments([0.0, 0.5], before, values, flips)
    assert (start.losing, start.flips, start.change) == (0, 0, 0)
    assert (then.losing, then.flips) == (0.5, 0.5)
    assert then.change == pytest.approx(-0.075)
    assert lowest([start, then]) == then


def test_those_that_fall_most_come_first_and_those_that_rise_not_at_all():
    before, worst, end = np.array([0.5, 0.9, 0.4]), np.array([0.4, 0.1, 0.6]), np.array([0.6, 0.8, 0.7])
    found = falls(np.array([10, 11, 12]), before, worst, end, most=5)
    assert [(fall.place, fall.recovers) for fall in found] == [(11, False), (10, True)]
    assert len(falls(np.array([10, 11, 12]), before, worst, end, most=1)) == 1


def test_classes_fall_by_the_mean_of_their_queries():
    labels = np.array([7, 7, 3, 3, 3])
    before, worst = np.full(5, 0.5), np.array([0.1, 0.5, 0.4, 0.4, 0.4])
    found = class_falls(labels, before, worst, before, most=5)
    assert [(fall.place, fall.queries) for fall in found] == [(7, 2), (3, 3)]
    assert found[0].worst == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(3))
def test_below_counts_all_pairs(seed):
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 5, 20).astype(float), random.integers(1, 6, 30).astype(float)
    assert below(a, b) == pytest.approx(np.mean([(x < y) + (x == y) / 2 for x in a for y in b]))
    assert below(a, a) == pytest.approx(0.5)
    assert np.isnan(below(a, b[:0]))


def test_calibration_of_equal_spaces_is_even_and_of_a_closer_one_is_not():
    e = random_embeddings(0, queries=40, items=60, grouped=False)
    same = Embeddings(e.query_old, e.query_old, e.gallery_old, e.gallery_old, e.query_labels, e.gallery_labels)
    found = calibration(same, labelled=True)
    assert found.old_below_new == pytest.approx(0.5)
    assert found.old_before_found == pytest.approx(found.old_alone)
    assert len(found.quantiles["old", "others"]) == len(LEVELS)
    shifted = Embeddings(
        e.query_old, torch.nn.functional.pad(e.query_old, (0, 1), value=0.0), e.gallery_old,
        torch.nn.functional.pad(e.gallery_old, (0, 1), value=50.0), e.query_labels, e.gallery_labels,
    )  # fmt: skip
    assert calibration(shifted, labelled=True, distance="l2").old_below_new == 1.0
    assert ("old", "relevant") not in calibration(same, labelled=False).quantiles


def test_gain_reached_is_linear_between_points():
    assert gain_reached(PROGRESS, VALUES, 0.2, 0.8, 0.25) == pytest.approx(1 / 6)
    assert np.isnan(gain_reached(PROGRESS, VALUES, 0.2, 0.2, 0.25))


@pytest.mark.parametrize("seed", range(3))
def test_overlap_is_what_a_loop_gives(seed):
    e, order = random_embeddings(seed), backfill_order(30, seed)
    found = overlap_curve(e, order, [0.0, 0.4, 1.0], k=5)
    old, new = (d.numpy() for d in (distances(e.query_old, e.gallery_old), distances(e.query_new, e.gallery_new)))
    for q in range(len(old)):
        ignored = (e.gallery_groups == e.query_groups[q]).numpy()
        for t, ratio in enumerate((0.0, 0.4, 1.0)):
            migrated = np.isin(np.arange(30), order[: int(ratio * 30)])
            merged = np.where(ignored, np.inf, np.where(migrated, new[q], old[q]))
            wanted = np.argsort(np.where(ignored, np.inf, new[q]), kind="stable")[:5]
            shown = np.argsort(merged, kind="stable")[:5]
            assert found[q, t] == pytest.approx(len({*wanted} & {*shown}) / 5)
    assert (found[:, -1] == 1).all()
    assert nearest(e, 50).shape == (12, 30)


def test_zero_equal_and_close_rows_are_counted():
    random = np.random.default_rng(0)
    rows = random.normal(size=(10, 4)).astype(np.float32)
    rows[3] = 0
    assert zero_rows(rows) == 1
    others = np.concatenate([random.normal(size=(5, 4)).astype(np.float32), rows[[7, 2]]])
    assert equal_rows(rows, others) == 2
    assert equal_rows(np.array([[0.0, 1.0]]), np.array([[-0.0, 1.0]])) == 1
    a, b = torch.from_numpy(rows), torch.from_numpy(others) * 3  # cosine does not see the length
    assert close_rows(a, b) == 2
    skip = torch.zeros(10, 7, dtype=torch.bool)
    skip[7, 5] = True
    assert close_rows(a, b, skip) == 1
    assert close_rows(torch.zeros(1, 4), torch.zeros(1, 4)) == 0


def test_a_sample_keeps_what_is_relevant_where_that_is_little():
    labels = np.repeat(np.arange(100), 10)
    found = sample(np.arange(100), labels, queries=5, items=200)
    assert (len(found.queries), len(found.items), found.positives, found.whole) == (5, 200, True, False)
    assert np.isin(labels, found.queries)[found.items].sum() == 50
    assert (np.diff(found.items) > 0).all()


def test_a_sample_thins_all_alike_where_much_is_relevant():
    labels = np.arange(1000) % 2
    found = sample(np.array([0, 1, 0]), labels, queries=3, items=100)
    assert (len(found.items), found.positives, found.whole) == (100, False, False)
    small = sample(np.array([0, 1]), labels[:50], queries=3, items=100)
    assert (len(small.items), small.positives, small.whole) == (50, True, True)


def test_classes_that_surely_end_lower_are_counted_with_their_queries():
    labels = np.repeat([0, 1, 2, 3], [10, 10, 10, 4])
    before = np.full(34, 0.5)
    change = np.concatenate([np.full(10, -0.1), np.full(10, 0.1), np.tile([-0.4, 0.38], 5), np.full(4, -0.5)])
    assert lower_classes(labels, before, before + change) == (1, 4, 10 / 34)
    assert lower_classes(labels, before, before) == (0, 4, 0)
