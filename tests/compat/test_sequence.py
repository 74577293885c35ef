"""A gallery of three generations against re-ranking item by item, and what a gallery in parts must not change."""

from math import floor
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from compat import Embeddings, backfill_curve, backfill_order
from compat.errors import InputError
from compat.methods import ReverseQuery, Upgrade
from compat.sequence import overlapping_curve
from tests.pairs import embedded, embedders
from tests.spaces import BACKENDS, FIELDS, random_embeddings


class Generations(NamedTuple):
    """Queries and gallery in the oldest, the middle and the newest space, with labels and groups of both."""

    queries: list[np.ndarray]
    gallery: list[np.ndarray]
    labels: tuple[np.ndarray, np.ndarray]
    groups: tuple[np.ndarray, np.ndarray]

    def before(self, generation: int) -> Embeddings:
        """Every item as it is before the second upgrade, all in one generation, and after it."""
        q, g = self.queries, self.gallery
        return Embeddings(q[generation], q[2], g[generation], g[2], *self.labels, *self.groups)


def generations(seed, queries=9, items=30, dims=(3, 5, 2), tied=False, classes=4, scales=(1.0, 1.0, 1.0)):
    random = np.random.default_rng(seed)

    def rows(count, dim, scale):
        return scale * (random.integers(-1, 2, (count, dim)) if tied else random.normal(size=(count, dim)))

    spaces = list(zip(dims, scales, strict=True))
    return Generations(
        [rows(queries, *space) for space in spaces],
        [rows(items, *space) for space in spaces],
        (random.integers(0, classes, queries), random.integers(0, classes, items)),
        (random.integers(0, 6, queries), random.integers(0, 6, items)),
    )


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


def orders_of(items, seed, count=2):
    return [[backfill_order(items, (seed, number, turn)) for number in range(count)] for turn in range(2)]


def assert_same(curve, other):
    """The same counts; sums may run in another order."""
    np.testing.assert_allclose(curve.mean_ap_orders, other.mean_ap_orders, rtol=1e-13)
    np.testing.assert_allclose(curve.mean_ap, other.mean_ap, rtol=1e-13)
    np.testing.assert_array_equal(curve.negative_flip_rate_orders, other.negative_flip_rate_orders)
    for k, values in curve.cmc_orders.items():
        np.testing.assert_array_equal(values, other.cmc_orders[k])
        np.testing.assert_allclose(curve.cmc[k], other.cmc[k], rtol=1e-13)
    assert (curve.queries, curve.queries_without_positive) == (other.queries, other.queries_without_positive)
    np.testing.assert_array_equal(curve.progress, other.progress)


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
        np.testing.assert_allclose(curve.mean_ap_orders[order], np.nanmean(precision, 1), atol=1e-12)
        np.testing.assert_allclose(curve.negative_flip_rate_orders[order], flips[:, evaluated].mean(1), atol=1e-12)
        for k in (1, 3):
            np.testing.assert_allclose(curve.cmc_orders[k][order], (rank <= k)[:, evaluated].mean(1), atol=1e-12)
    np.testing.assert_allclose(curve.mean_ap, curve.mean_ap_orders.mean(0))
    np.testing.assert_allclose(curve.negative_flip_rate, curve.negative_flip_rate_orders.mean(0))
    np.testing.assert_allclose(curve.cmc[3], curve.cmc_orders[3].mean(0))
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
    np.testing.assert_allclose(curve.mean_ap_orders, [alone.mean_ap] * 2, rtol=1e-13)
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


def rows_of(e, rows):
    """The embeddings with the gallery's rows of the given numbers."""
    return Embeddings(**{name: getattr(e, name)[rows if "gallery" in name else slice(None)] for name in FIELDS})


@pytest.mark.parametrize("tied", [True, False])
def test_parts_in_any_order_and_rows_permuted_change_nothing(tied):
    three = generations(4, items=41, tied=tied)
    parts = [rows_of(three.before(generation), rows) for generation, rows in ((0, slice(0, 17)), (1, slice(17, 41)))]
    order = backfill_order(41, 4)
    curve = backfill_curve(parts, order)
    assert_same(curve, backfill_curve(parts[::-1], (order + 24) % 41))
    shuffles = [np.random.default_rng(n).permutation(len(part.gallery_old)) for n, part in enumerate(parts)]
    place = np.argsort(np.concatenate([shuffles[0], shuffles[1] + 17]))
    assert_same(curve, backfill_curve([rows_of(*pair) for pair in zip(parts, shuffles, strict=True)], place[order]))


def test_the_rows_of_a_sequence_may_be_permuted():
    three = generations(5)
    first, second = orders_of(30, 5)
    shuffle = np.random.default_rng(0).permutation(30)
    place = np.argsort(shuffle)
    curve = overlapping_curve(three.before(0), three.before(1), 0.4, first, second)
    stale, reached = (rows_of(three.before(generation), shuffle) for generation in (0, 1))
    assert_same(curve, overlapping_curve(stale, reached, 0.4, [place[o] for o in first], [place[o] for o in second]))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cuts=st.sets(st.integers(1, 39), max_size=4),
    sorted_by_label=st.booleans(),
    tied=st.booleans(),
    distance=st.sampled_from(["cosine", "l2"]),
    backend=st.sampled_from(BACKENDS),
    chunk=st.none() | st.integers(1, 7),
)
def test_a_gallery_cut_into_parts_gives_the_curve_of_the_whole(
    seed, cuts, sorted_by_label, tied, distance, backend, chunk
):
    """Also into parts that lack most classes."""
    whole = random_embeddings(seed, items=40, tied=tied)
    if sorted_by_label:
        whole = rows_of(whole, whole.gallery_labels.argsort())
    parts = [rows_of(whole, rows) for rows in np.split(np.arange(40), sorted(cuts))]
    orders = orders_of(40, seed)[0]
    options: Any = {"distance": distance, "backend": backend, "per_query": True}
    curve = backfill_curve(whole, orders, 6, **options)
    divided = backfill_curve(parts, orders, 6, query_chunk=chunk, **options)
    np.testing.assert_array_equal(divided.first_rank, curve.first_rank)
    assert curve.average_precision is not None
    assert divided.average_precision is not None
    np.testing.assert_allclose(divided.average_precision, curve.average_precision, rtol=1e-13)
    assert_same(divided, curve)


def test_a_list_of_one_part_is_the_plain_call():
    e = random_embeddings(6)
    order = backfill_order(30, 6)
    assert_same(backfill_curve([e], order, 5, top_k=(1, 2)), backfill_curve(e, order, 5, top_k=(1, 2)))


@pytest.mark.parametrize("name", ["query_new", "query_labels", "query_groups"])
def test_parts_have_the_same_queries(name):
    e = random_embeddings(7)
    other = Embeddings(**{field: getattr(e, field) + (field == name) for field in FIELDS})
    with pytest.raises(InputError, match=f"{name}: differs between the parts of the gallery, expected the same"):
        backfill_curve([e, other], range(60))


def test_parts_have_as_many_queries():
    with pytest.raises(InputError, match="query_new: differs between the parts of the gallery"):
        backfill_curve([random_embeddings(0, queries=5), random_embeddings(0, queries=6)], range(60))


@pytest.mark.parametrize(("parts", "shard"), [(0, None), (0, "queries"), (2, "queries"), (2, "gallery")])
def test_there_is_a_part_and_parts_are_not_sharded(parts, shard):
    with pytest.raises(InputError, match=f"embeddings: {parts} parts and shard {shard!r}, expected one, or parts"):
        backfill_curve([random_embeddings(8)] * parts, range(30 * parts), shard=shard)


def test_the_order_numbers_the_items_of_all_parts():
    with pytest.raises(InputError, match=r"order: shape \(30,\), expected \(60,\)"):
        backfill_curve([random_embeddings(9)] * 2, range(30))


@pytest.mark.parametrize("rho", [None, False, True])
def test_a_later_upgrade_goes_back_through_an_earlier_one_as_its_own_query_does(rho):
    method = Upgrade(*embedders()) if rho is None else ReverseQuery(*embedders(), hidden=8, rho=rho)
    old, new, _ = embedded()
    with torch.no_grad():
        for transform in filter(None, (getattr(method.eval(), "psi", None), getattr(method, "rho", None))):
            for parameter in transform.parameters():  # a residual head starts as the identity
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        query_old, served = method.query(old, new)
        assert torch.equal(query_old, method.back(old, served))
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
