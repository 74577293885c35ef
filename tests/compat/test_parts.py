"""A gallery in parts: it gives the curve of the whole, and what its parts must have in common."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat import Embeddings, backfill_curve, backfill_order
from compat.errors import InputError
from tests.helpers.sequences import assert_same, generations, orders_of, rows_of
from tests.helpers.spaces import BACKENDS, FIELDS, random_embeddings


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
