"""Both engines, any chunks, and any division among processes give the same counts."""

import gc
import signal
import threading
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from compat import Embeddings, backfill_curve, backfill_order
from compat.curve_metrics import CURVE_METRICS
from compat.engine import kernels
from compat.engine.cpu import CpuEngine
from compat.engine.exact import EngineGallery, Queries, TorchEngine, distances, thresholds_of
from compat.errors import InputError
from compat.merge import QueryZScore, ReciprocalRank
from compat.metrics import BackfillCurve
from tests.helpers import shards
from tests.helpers.spaces import BACKENDS, FIELDS, random_embeddings, slow_curve


def counts(e, orders, progress, **options):
    curve = backfill_curve(e, orders, progress, per_query=True, **options)
    assert curve.average_precision is not None
    return curve.first_rank, curve.average_precision


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(1, 60),
    classes=st.integers(1, 5),
    tied=st.booleans(),
    grouped=st.booleans(),
    distance=st.sampled_from(["cosine", "l2"]),
    orders=st.integers(1, 3),
    chunk=st.integers(1, 9),
)
def test_backends_and_chunks_give_the_same_counts(seed, items, classes, tied, grouped, distance, orders, chunk):
    e = random_embeddings(seed, 8, items, tied, classes, grouped)
    order = [backfill_order(items, (seed, number)) for number in range(orders)]
    e.query_labels[0] = e.gallery_labels[0]
    e.query_groups[0] = -1
    rank, precision = counts(e, order, 6, distance=distance, backend="numba")
    for options in ({"backend": "torch"}, {"backend": "torch", "query_chunk": chunk}, {"query_chunk": chunk}):
        other_rank, other_precision = counts(e, order, 6, distance=distance, **options)
        np.testing.assert_array_equal(rank, other_rank)
        np.testing.assert_allclose(precision, other_precision, rtol=1e-13)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_ranks_at_every_threshold_are_the_same(distance, dtype):
    """Thousands of items and near ties: duplicates, and rows that differ in the last bit of float32."""
    random = torch.Generator().manual_seed(0)
    old, new = (torch.randn(3000, d, generator=random, dtype=torch.float64).to(dtype) for d in (24, 40))
    for rows in (old, new):
        rows[1000:1500] = rows[:500]
        if dtype == torch.float32:
            rows[1500:2000] = torch.nextafter(rows[:500], torch.tensor(9.0))
    labels, group = torch.arange(3000) % 37, torch.arange(3000)
    e = Embeddings(old[:200], new[:200], old, new, labels[:200], labels, group[:200], group)
    step = torch.randint(0, 12, (2, 3000), generator=random)
    gallery = EngineGallery(e.gallery_old, e.gallery_new, e.gallery_labels, e.gallery_groups, step, 11, distance)
    queries = Queries(e.query_old, e.query_new, e.query_labels, e.query_groups)
    compiled, plain = CpuEngine(gallery), TorchEngine(gallery)
    measured, compared = compiled.measure(queries), plain.measure(queries)
    positives = plain.positives(compared)
    for ours, theirs in zip(compiled.positives(measured)[:4], positives[:4], strict=True):
        found = ours.sort(-1).values[..., : theirs.shape[-1]]  # it may be padded further
        torch.testing.assert_close(found, theirs.sort(-1).values, rtol=0, atol=0)
    thresholds = thresholds_of(positives)
    known = thresholds.isfinite().expand(2, 11, -1, -1)
    expected = plain.ranks(compared, thresholds)[known]
    torch.testing.assert_close(compiled.ranks(measured, thresholds)[known], expected, rtol=0, atol=0)


def test_large_embeddings_of_many_dimensions_against_scikit_learn():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 300)
    old, new = (random.normal(size=(300, 600)).astype(np.float32) for _ in range(2))
    for scale in (1.0, 1e-20, 1e20):
        e = Embeddings(old[:5] * scale, new[:5] * scale, old * scale, new * scale, labels[:5], labels)
        order, points = backfill_order(300, 0), np.linspace(0, 1, 5)
        curve = backfill_curve(e, order, points)
        np.testing.assert_allclose(curve.mean_ap, slow_curve(e, order, points, "cosine")["mean_ap"], atol=1e-12)


@pytest.mark.parametrize("offset", [0, 10, 1000, 3e4])
@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_far_from_the_origin_nothing_is_lost(offset, distance):
    """Against scikit-learn on distances from differences, in float64."""
    random = np.random.default_rng(0)
    old, new = ((offset + random.normal(size=(300, 16))).astype(np.float32) for _ in range(2))
    labels = random.integers(0, 9, 300)
    e = Embeddings(old[:9], new[:9], old[9:], new[9:], labels[:9], labels[9:])
    found = [backfill_curve(e, range(291), [0.0], distance=distance, per_query=True, backend=b) for b in BACKENDS]
    np.testing.assert_array_equal(found[0].first_rank, found[1].first_rank)
    for query in range(9):
        q, g = old[query].astype(float), old[9:].astype(float)
        if distance == "cosine":
            q, g = q / np.linalg.norm(q), g / np.linalg.norm(g, axis=1, keepdims=True)
        expected = average_precision_score(labels[9:] == labels[query], -np.square(q - g).sum(1))
        for curve in found:
            assert curve.average_precision is not None
            assert curve.average_precision[query, 0, 0] == pytest.approx(expected, abs=1e-6)


def one_class(items, **changes):
    """All items relevant to every query."""
    random = np.random.default_rng(0)
    rows = {name: random.normal(size=(3 if "query" in name else items, 4)) for name in FIELDS[:4]}
    return Embeddings(**{**rows, "query_labels": [0, 0, 0], "gallery_labels": [0] * items, **changes})


@pytest.mark.parametrize("backend", ["numba", "torch"])
class TestDegenerate:
    def test_everything_is_relevant(self, backend):
        curve = backfill_curve(one_class(50), range(50), backend=backend)
        assert curve.mean_ap.tolist() == [1] * 11
        assert curve.cmc[1].tolist() == [1] * 11

    def test_all_but_one_are_relevant(self, backend):
        labels = [0] * 49 + [1]
        e = one_class(50, gallery_labels=labels)
        curve = backfill_curve(e, range(50), backend=backend)
        expected = slow_curve(e, np.arange(50), curve.progress, "cosine")
        np.testing.assert_allclose(curve.mean_ap, expected["mean_ap"], atol=1e-12)

    def test_one_item(self, backend):
        curve = backfill_curve(one_class(1), [0], backend=backend)
        assert curve.mean_ap.tolist() == [1] * 11

    @pytest.mark.parametrize("distance", ["cosine", "l2"])
    @pytest.mark.parametrize("value", [0.0, 0.1, 3.0])
    def test_all_distances_are_equal(self, backend, distance, value):
        """One tie: AP is the share of relevant items, and the first positive comes after all the others."""
        rows = {name: np.full((3 if "query" in name else 40, 4), value) for name in FIELDS[:4]}
        e = one_class(40, gallery_labels=[0] * 10 + [1] * 30, **rows)
        curve = backfill_curve(e, range(40), backend=backend, distance=distance, top_k=(30, 31))
        assert curve.mean_ap.tolist() == [0.25] * 11
        assert curve.cmc[30].tolist() == [0] * 11
        assert curve.cmc[31].tolist() == [1] * 11

    def test_zero_vectors_under_cosine(self, backend):
        """A zero query is equally far from everything; a zero item is between the similar and the opposite."""
        line = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
        e = Embeddings([[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]], line, line, [0, 0], [1, 0, 1])
        curve = backfill_curve(e, range(3), 2, backend=backend, per_query=True)
        assert curve.average_precision is not None
        assert curve.average_precision[:, 0, 0].tolist() == pytest.approx([1 / 2, 1 / 3])


def test_more_positives_than_16_bits_count():
    """The compiled bins are wider then."""
    items = 20_000
    random = np.random.default_rng(0)
    rows = random.normal(size=(items, 3)).astype(np.float32)
    labels = (np.arange(items) % 10 == 0).astype(int)
    e = Embeddings(rows[:2], rows[:2], rows, rows[::-1].copy(), [0, 1], labels)
    order = backfill_order(items, 0)
    rank, precision = counts(e, order, 3, backend="numba")
    other_rank, other_precision = counts(e, order, 3, backend="torch")
    np.testing.assert_array_equal(rank, other_rank)
    np.testing.assert_allclose(precision, other_precision, rtol=1e-12)


@pytest.mark.parametrize("merge", [None, QueryZScore(size=9, fewest=5)])
@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_processes_give_the_same_counts(tmp_path, world, merge):
    e, order = random_embeddings(7, 23, 61), [backfill_order(61, s) for s in range(2)]
    whole = backfill_curve(e, order, 7, per_query=True, metrics=CURVE_METRICS, merge=merge)
    assert whole.average_precision is not None
    assert whole.first_rank is not None
    fields = {name: getattr(e, name).numpy() for name in FIELDS}
    mp.start_processes(shards.replay, (world, tmp_path, fields, order, merge), world, start_method="spawn")
    results = list(tmp_path.glob("*.pt"))
    assert len(results) == 4 * world
    for path in results:
        figures, first_rank, precision, queries = torch.load(path, weights_only=False)
        np.testing.assert_array_equal(first_rank, whole.first_rank)
        np.testing.assert_allclose(precision, whole.average_precision, rtol=1e-13)
        assert figures.keys() == CURVE_METRICS.keys()
        for name, values in figures.items():
            np.testing.assert_allclose(values, whole.figures[name], rtol=1e-13)
        assert queries == whole.queries


def test_shard_needs_processes():
    e = random_embeddings(0)
    with pytest.raises(InputError, match=r"shard: 'gallery' without torch\.distributed"):
        backfill_curve(e, range(30), shard="gallery")
    wrong: Any = "both"
    with pytest.raises(InputError, match="shard: 'both', expected queries, gallery or None"):
        backfill_curve(e, range(30), shard=wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "cuda"}, "backend: 'cuda', expected auto, numba or torch"),
        ({"distance": "dot"}, "distance: 'dot', expected cosine or l2"),
        ({"query_chunk": 0}, "query_chunk: 0, expected at least 1"),
    ],
)
def test_wrong_options_name_the_field(options, message):
    with pytest.raises(InputError, match=message):
        backfill_curve(random_embeddings(0), range(30), **options)


def test_an_interrupt_ends_the_threads(monkeypatch):
    """The chunk under way is finished, no other is begun, and torch has its threads back."""
    begun = []

    def interrupted(self, queries, ranks=False):
        begun.append(len(queries.labels))
        if len(begun) == 2:
            signal.raise_signal(signal.SIGINT)
        return figures(self, queries, ranks)

    figures = CpuEngine.figures
    monkeypatch.setattr(CpuEngine, "figures", interrupted)
    before = torch.get_num_threads()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    gc.disable()  # what is raised in one of its callbacks, such as hypothesis's, is lost
    try:
        with pytest.raises(KeyboardInterrupt):
            backfill_curve(random_embeddings(0, 200), range(30), query_chunk=1)
    finally:
        gc.enable()
        signal.signal(signal.SIGINT, handler)
    assert len(begun) < 200
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("replay")]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("parts", [1, 2])
def test_each_chunk_s_distances_are_computed_once(monkeypatch, parts):
    calls = []

    def counted(query, gallery, distance):
        calls.append(len(query))
        return distances(query, gallery, distance)

    monkeypatch.setattr("compat.engine.exact.distances", counted)
    halves = [random_embeddings(0, 12, 30)] * parts
    backfill_curve(halves, backfill_order(30 * parts, 0), backend="torch", query_chunk=5)
    assert calls == [rows for rows in (5, 5, 2) for _ in range(2 * parts)]


def test_the_compiled_engine_s_positives_are_found_once_in_a_part(monkeypatch):
    calls = []

    def counted(*given):
        calls.append(len(given[0]))
        positive_distances(*given)

    positive_distances = kernels.positive_distances
    monkeypatch.setattr(kernels, "positive_distances", counted)
    halves = [random_embeddings(0, 12, 30)] * 2
    expected = backfill_curve(halves, backfill_order(60, 0), backend="torch")
    found = backfill_curve(halves, backfill_order(60, 0), backend="numba", query_chunk=12)
    assert calls == [12] * 4  # two parts, two spaces
    np.testing.assert_allclose(found.mean_ap, expected.mean_ap, rtol=1e-13)


def test_a_rule_wants_the_whole_gallery():
    e = random_embeddings(0)
    step = torch.zeros(1, len(e.gallery_old), dtype=torch.int64)
    part = EngineGallery(
        e.gallery_old, e.gallery_new, e.gallery_labels, e.gallery_groups, step, 2, merge=ReciprocalRank()
    )
    with pytest.raises(InputError, match="merge: for a gallery in 2 parts, expected it whole"):
        BackfillCurve([part, part])
