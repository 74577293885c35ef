"""A gallery of three generations against re-ranking item by item, by hand, and against two generations or one."""

from math import floor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from compat import Embeddings, backfill_curve
from compat.errors import InputError
from compat.methods import ReverseQuery, Upgrade
from compat.sequence import overlapping_curve
from tests.helpers.pairs import embedded, embedders
from tests.helpers.sequences import Generations, assert_same, generations, orders_of, rows_of
from tests.helpers.spaces import BACKENDS


def slow_distances(query, gallery, distance):
    """Of one query, (G,); rounded, so that equal ones are so."""
    query, gallery = query.astype(float), gallery.astype(float)
    if distance == "l2":
        apart = np.sqrt(np.square(gallery - query).sum(1))
    else:
        lengths = np.linalg.norm(query) * np.linalg.norm(gallery, axis=1)
        apart = 1 - np.divide(gallery @ query, lengths, out=np.zeros(len(gallery)), where=lengths > 0)
    return apart.round(10).astype(np.float32)


def slow_sequence(three, start, first, second, progress, distance):
    """AP and first rank, (T, Q) each: every item in its state, every query's gallery ranked anew."""
    items = len(three.gallery[0])
    reached = set(first[: floor(start * items)].tolist())
    precision: Any = []
    ranks: Any = []
    for ratio in progress:
        newest = set(second[: floor(ratio * items)].tolist())
        state = [2 if item in newest else 1 if item in reached else 0 for item in range(items)]
        for number, (label, group) in enumerate(zip(three.labels[0], three.groups[0], strict=True)):
            spaces = zip(three.queries, three.gallery, strict=True)
            apart = np.choose(state, [slow_distances(q[number], g, distance) for q, g in spaces])
            kept = three.groups[1] != group
            relevant, apart = three.labels[1][kept] == label, apart[kept]
            precision.append(average_precision_score(relevant, -apart) if relevant.any() else np.nan)
            ranks.append(1 + (apart[~relevant] <= apart[relevant].min()).sum() if relevant.any() else 0)
    return np.reshape(precision, (len(progress), -1)), np.reshape(ranks, (len(progress), -1))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(1, 6),
    items=st.integers(1, 25),
    dims=st.tuples(*[st.integers(1, 5)] * 3),
    classes=st.integers(1, 5),
    tied=st.booleans(),
    distance=st.sampled_from(["cosine", "l2"]),
    start=st.integers(0, 20),
    orders=st.integers(1, 3),
    progress=st.lists(st.integers(0, 20), min_size=1, max_size=6, unique=True),
    chunk=st.none() | st.integers(1, 7),
    backend=st.sampled_from(BACKENDS),
)
def test_every_item_is_compared_in_the_space_it_is_in(
    seed, queries, items, dims, classes, tied, distance, start, orders, progress, chunk, backend
):
    three = generations(seed, queries, items, dims, tied, classes)
    first, second = orders_of(items, seed, orders)
    ratios = [point / 20 for point in sorted(progress)]
    options: Any = {"distance": distance, "query_chunk": chunk, "backend": backend}
    replayed: Any = (three.before(0), three.before(1), start / 20, first, second, ratios)
    expected = [slow_sequence(three, start / 20, *pair, ratios, distance) for pair in zip(first, second, strict=True)]
    evaluated = expected[0][1][0] > 0
    if not evaluated.any():
        with pytest.raises(InputError, match="none of the"):
            overlapping_curve(*replayed, **options)
        return
    curve = overlapping_curve(*replayed, top_k=(1, 3), **options)
    for order, (precision, rank) in enumerate(expected):
        flips = (rank[0] == 1) & (rank != 1)
        np.testing.assert_allclose(curve.figures["mean_ap"][order], np.nanmean(precision, 1), atol=1e-12)
        np.testing.assert_allclose(curve.figures["negative_flip_rate"][order], flips[:, evaluated].mean(1), atol=1e-12)
        for k in (1, 3):
            np.testing.assert_allclose(curve.figures[f"cmc_{k}"][order], (rank <= k)[:, evaluated].mean(1), atol=1e-12)
    np.testing.assert_allclose(curve.mean_ap, curve.figures["mean_ap"].mean(0))
    np.testing.assert_allclose(curve.negative_flip_rate, curve.figures["negative_flip_rate"].mean(0))
    np.testing.assert_allclose(curve.cmc[3], curve.figures["cmc_3"].mean(0))
    np.testing.assert_array_equal(curve.progress, ratios)
    assert (curve.queries, curve.queries_without_positive) == (evaluated.sum(), (~evaluated).sum())


@pytest.mark.parametrize(("distance", "scales"), [("l2", (1e4, 1.0, 1e-4)), ("cosine", (1e20, 1.0, 1e-3))])
def test_spaces_of_other_scales_are_ranked_together(distance, scales):
    """Cosines of the oldest part are then left to torch, and those of the middle part are compiled."""
    three = generations(0, scales=scales)
    first, second = orders_of(30, 0, 1)
    ratios = [0.0, 0.2, 0.5, 0.7, 1.0]
    curve = overlapping_curve(three.before(0), three.before(1), 0.5, first, second, ratios, distance=distance)
    precision, _ = slow_sequence(three, 0.5, first[0], second[0], ratios, distance)
    np.testing.assert_allclose(curve.mean_ap, np.nanmean(precision, 1), atol=1e-12)


def test_three_generations_by_hand():
    """A query at 0 on a line, relevant items a and b, wrong ones c and d, each at a distance of its state."""
    line = Generations(
        queries=[np.zeros((1, 1))] * 3,
        gallery=[np.array([[4.0], [3], [1], [2]]), np.array([[5.0], [6], [9], [8]]), np.array([[1.0], [2], [3], [4]])],
        labels=(np.array([0]), np.array([0, 0, 1, 1])),
        groups=(np.array([9]), np.arange(4)),
    )
    curve = overlapping_curve(
        line.before(0), line.before(1), 0.5, [np.array([2, 0, 1, 3])], [np.array([0, 3, 2, 1])], 5, distance="l2"
    )
    expected = [  # c and a are reached by the first upgrade, b and d never are
        (1 / 2 + 2 / 3) / 2,  # d 2, b 3, a 5, c 9
        (1 + 2 / 3) / 2,  # a 1, d 2, b 3, c 9
        1.0,  # a 1, b 3, d 4, c 9
        (1 + 2 / 3) / 2,  # a 1, b and c 3, d 4: one group of two
        1.0,  # a 1, b 2, c 3, d 4
    ]
    assert curve.mean_ap.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("start", "generation"), [(1.0, 1), (0.0, 0), (0.03, 0)])
def test_a_first_upgrade_that_is_over_or_has_not_begun_leaves_two_generations(start, generation, backend):
    three = generations(1)
    first, second = orders_of(30, 1)
    curve = overlapping_curve(three.before(0), three.before(1), start, first, second, 7, backend=backend)
    assert_same(curve, backfill_curve(three.before(generation), second, 7, backend=backend))


@pytest.mark.parametrize("start", [0.0, 0.4, 1.0])
def test_the_end_is_the_newest_system_alone(start):
    three = generations(2)
    first, second = orders_of(30, 2)
    curve = overlapping_curve(three.before(0), three.before(1), start, first, second, [1.0])
    alone = backfill_curve(three.before(2), range(30), [0.0])
    np.testing.assert_allclose(curve.figures["mean_ap"], [alone.mean_ap] * 2, rtol=1e-13)
    assert curve.cmc[1] == alone.cmc[1]
    assert not np.allclose(curve.mean_ap, backfill_curve(three.before(0), range(30), [0.0]).mean_ap)


def test_three_identical_spaces_give_a_flat_curve():
    three = generations(3)
    same = three._replace(queries=three.queries[:1] * 3, gallery=three.gallery[:1] * 3)
    first, second = orders_of(30, 3)
    curve = overlapping_curve(same.before(0), same.before(1), 0.4, first, second, 21)
    np.testing.assert_allclose(curve.mean_ap, curve.mean_ap[0], rtol=1e-14)
    assert curve.negative_flip_rate.tolist() == [0] * 21
    assert len(set(curve.cmc[1].tolist())) == 1


def test_the_rows_of_a_sequence_may_be_permuted():
    three = generations(5)
    first, second = orders_of(30, 5)
    shuffle = np.random.default_rng(0).permutation(30)
    place = np.argsort(shuffle)
    curve = overlapping_curve(three.before(0), three.before(1), 0.4, first, second)
    stale, reached = (rows_of(three.before(generation), shuffle) for generation in (0, 1))
    assert_same(curve, overlapping_curve(stale, reached, 0.4, [place[o] for o in first], [place[o] for o in second]))


@pytest.mark.parametrize("rho", [None, False, True])
def test_a_later_upgrade_goes_back_through_an_earlier_one_as_its_own_query_does(rho):
    method = Upgrade(*embedders()) if rho is None else ReverseQuery(*embedders(), hidden=8, rho=rho)
    old, new, _ = embedded()
    with torch.no_grad():
        for transform in filter(None, (getattr(method.eval(), "psi", None), getattr(method, "rho", None))):
            for parameter in transform.parameters():  # a residual head starts as the identity
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        query_old, served = method.query(old, new)
        assert torch.equal(query_old, method.query_for_old(old, served))
        assert torch.equal(query_old, method.psi(served) if isinstance(method, ReverseQuery) else old)
    assert torch.equal(served, new) is not bool(rho)
    assert query_old.shape == old.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": -0.4}, "progress: -0.4"),
        ({"start": 1.4}, "progress: 1.4"),
        ({"first_orders": [np.zeros(6, int)]}, "order: 0 twice"),
        ({"first_orders": [np.arange(4)]}, "order: shape"),
        ({"second_orders": [np.array([0, 1, 2, 3, 4, 9])]}, "order: 9"),
        ({"second_orders": [np.array([0, 1, 2, 3, 4, -1])]}, "order: -1"),
        ({"second_orders": [np.arange(6)] * 2}, "second_orders: 2, expected 1"),
        ({"first_orders": [], "second_orders": []}, "order: shape"),
    ],
)
def test_wrong_starts_and_orders_are_one_line(arguments, message):
    rows = np.eye(6)
    labels, groups = np.arange(6) % 2, np.arange(6)
    stale = Embeddings(rows, rows, rows, rows, labels, labels, groups, groups)
    usual = {"start": 0.5, "first_orders": [np.arange(6)], "second_orders": [np.arange(6)]}
    with pytest.raises(InputError, match=message) as error:
        overlapping_curve(stale, stale, **{**usual, **arguments})
    assert "\n" not in str(error.value)


def test_stale_and_reached_are_one_gallery():
    rows, labels = np.eye(6), np.arange(6) % 2
    stale = Embeddings(rows, rows, rows, rows, labels, labels)
    reached = Embeddings(rows, rows, rows[:5], rows[:5], labels, labels[:5])
    with pytest.raises(InputError, match="gallery_new: differs between stale and reached"):
        overlapping_curve(stale, reached, 0.5, [np.arange(6)], [np.arange(6)])
