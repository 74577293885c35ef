"""Judgements in place of labels: against trec_eval, against labels, on every way to compute a curve, and wrong ones."""

import math
from typing import Any

import numpy as np
import pytest
import pytrec_eval
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st

from compat import Embeddings, Relevance, backfill_curve, backfill_order, topk_curve
from compat.curve_metrics import CURVE_METRICS, MRR, NDCG, Judged, Lost, MeanAveragePrecisionAt, Precision, Recall
from compat.decision.calibration import calibration
from compat.decision.fusion import fused_curve
from compat.engine.exact import distances
from compat.errors import InputError
from compat.merge import Merge, ReciprocalRank
from compat.orders import Oracle, OrderGiven
from tests.helpers import shards
from tests.helpers.spaces import FIELDS, random_embeddings

RATIOS = [0.0, 0.3, 1.0]
METRICS = {
    "ndcg_5": NDCG(5),
    "ndcg_10": NDCG(10),
    "recall_10": Recall(10),
    "precision_5": Precision(5),
    "map_10": MeanAveragePrecisionAt(10),
    "mrr": MRR(),
    "mrr_3": MRR(3),
    "r_precision": CURVE_METRICS["r_precision"],
    "lost_3": Lost(3),
    "judged_5": Judged(5),
}
TREC = {
    "ndcg_5": "ndcg_cut_5",
    "ndcg_10": "ndcg_cut_10",
    "recall_10": "recall_10",
    "precision_5": "P_5",
    "map_10": "map_cut_10",
    "mrr": "recip_rank",
    "r_precision": "Rprec",
}


class Plain(Merge):
    """Raw distances through the engine of merge rules."""

    @property
    def changes(self):
        return True


def judged(e, random, highest=3, share=0.4, min_grade=1):
    """Replace the labels by random judgements; the first query has one of every grade."""
    shape = (len(e.query_old), len(e.gallery_old))
    grades = np.where(random.random(shape) < share, random.integers(0, highest + 1, shape), -1)
    grades[0, : highest + 1] = range(highest + 1)
    queries, items = np.nonzero(grades >= 0)
    shuffled = random.permutation(len(queries))
    queries, items = queries[shuffled], items[shuffled]
    relevance = Relevance(queries, items, grades[queries, items], shape=shape, min_grade=min_grade)
    rows = {name: getattr(e, name) for name in FIELDS if "labels" not in name}
    return Embeddings(**rows, relevance=relevance), grades


def by_trec_eval(e, grades, order, min_grade, distance="cosine"):
    """Name -> (T,): every query's list ranked anew; of equal distances the lower grade first."""
    old, new = (distances(*space, distance) for space in ((e.query_old, e.gallery_old), (e.query_new, e.gallery_new)))
    curves: dict[str, list[float]] = {name: [] for name in (*TREC, "map", "mrr_3", "lost_3", "judged_5")}
    before: dict[int, set[int]] = {}
    for ratio in RATIOS:
        backfilled = torch.zeros(len(order), dtype=torch.bool)
        backfilled[torch.tensor(order[: math.floor(ratio * len(order))].copy())] = True
        run, qrels, further = {}, {}, []
        for query, of_query in enumerate(grades):
            kept = (e.gallery_groups != e.query_groups[query]).numpy()
            merged = new[query].where(backfilled, old[query]).numpy()
            ranked = [item for item in np.lexsort((of_query, merged)) if kept[item]]
            relevant = {item for item in ranked if of_query[item] >= min_grade}
            if not relevant:
                continue
            run[f"q{query}"] = {f"d{item}": 1 / (2.0 + place) for place, item in enumerate(ranked)}
            qrels[f"q{query}"] = {f"d{item}": int(of_query[item]) for item in ranked if of_query[item] >= 0}
            first = 1 + min(ranked.index(item) for item in relevant)
            shown = {item for item in relevant if (merged[kept] <= merged[item]).sum() <= 3}
            were = before.setdefault(query, shown)
            lost = len(were - shown) / max(len(were), 1)
            further.append((1 / first * (first <= 3), lost, sum(of_query[item] >= 0 for item in ranked[:5]) / 5))
        binary = pytrec_eval.RelevanceEvaluator(qrels, pytrec_eval.supported_measures, relevance_level=min_grade)
        found = list(binary.evaluate(run).values())
        for name, measure in {**TREC, "map": "map"}.items():
            curves[name].append(float(np.mean([of[measure] for of in found])))
        for name, values in zip(("mrr_3", "lost_3", "judged_5"), np.mean(further, 0), strict=True):
            curves[name].append(values)
    return curves


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(8, 60),
    highest=st.integers(1, 4),
    min_grade=st.integers(1, 4),
    tied=st.booleans(),
    share=st.sampled_from([0.05, 0.4, 1.0]),
)
def test_equals_trec_eval_on_every_backend(seed, items, highest, min_grade, tied, share):
    min_grade = min(min_grade, highest)
    e = random_embeddings(seed, 8, items, tied)
    e.query_groups[0] = -1
    e, grades = judged(e, np.random.default_rng(seed), highest, share, min_grade)
    order = backfill_order(items, seed)
    expected = by_trec_eval(e, grades, order, min_grade)
    ties = expected.pop("map")
    for options in ({"backend": "numba"}, {"backend": "torch", "query_chunk": 3}, {"merge": Plain()}):
        curve = backfill_curve(e, order, RATIOS, metrics=METRICS, **options)
        for name, values in expected.items():
            np.testing.assert_allclose(curve.mean(name), values, rtol=1e-9, atol=1e-12, err_msg=f"{name} {options}")
        if not tied:  # average precision groups ties
            np.testing.assert_allclose(curve.mean_ap, ties, rtol=1e-9)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("tied", [False, True])
def test_judgements_made_from_labels_equal_labels_to_the_last_digit(backend, tied):
    e = random_embeddings(3, 600, 90, tied, classes=7)
    labels = e.query_labels, e.gallery_labels
    rows = {name: getattr(e, name) for name in FIELDS if "labels" not in name}
    same = Embeddings(**rows, relevance=Relevance.of_labels(*labels))
    queries, items = np.indices((600, 90)).reshape(2, -1)  # zeros beside them change nothing
    equal = (labels[0][:, None] == labels[1]).long().numpy().reshape(-1)
    explicit = Embeddings(**rows, relevance=Relevance(queries, items, equal, shape=(600, 90)))
    orders = [backfill_order(90, seed) for seed in range(2)]
    metrics = {name: metric for name, metric in CURVE_METRICS.items() if name != "judged_10"}
    options = {"metrics": metrics, "per_query": True, "backend": backend}
    expected = backfill_curve(e, orders, 7, **options)
    for other in (same, explicit):
        for chunk in (None, 100):
            found = backfill_curve(other, orders, 7, query_chunk=chunk, **options)
            assert (found.queries, found.queries_without_positive) == (
                expected.queries,
                expected.queries_without_positive,
            )
            np.testing.assert_array_equal(found.average_precision, expected.average_precision)
            np.testing.assert_array_equal(found.first_rank, expected.first_rank)
            for name, values in expected.figures.items():
                np.testing.assert_array_equal(found.figures[name], values, err_msg=name)


def test_with_labels_everything_is_judged():
    curve = backfill_curve(random_embeddings(3), range(30), RATIOS, metrics=["judged_10"])
    assert curve.mean("judged_10").tolist() == [1.0] * 3


def shown(e, order, ratio, k, min_grade):
    """The relevant items among the first k of each query, an item at a distance shared beyond the k-th is not."""
    backfilled = torch.zeros(len(order), dtype=torch.bool)
    backfilled[torch.tensor(order[: math.floor(ratio * len(order))].copy())] = True
    old, new = (distances(*space, "cosine") for space in ((e.query_old, e.gallery_old), (e.query_new, e.gallery_new)))
    merged = new.where(backfilled, old).masked_fill(e.query_groups[:, None] == e.gallery_groups, torch.inf)
    relevant = e.relevant(torch.arange(len(merged))) & merged.isfinite()
    reach = (merged[:, None] <= merged[:, :, None]).sum(2)
    return relevant, relevant & (reach <= k)


@pytest.mark.parametrize("options", [{"backend": "numba"}, {"backend": "torch", "query_chunk": 5}, {"merge": "plain"}])
@pytest.mark.parametrize("by_labels", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_losses_are_those_of_the_old_system_itself(options, by_labels, tied):
    e = random_embeddings(11, 40, 60, tied)
    e = e if by_labels else judged(e, np.random.default_rng(1), min_grade=2)[0]
    served, order = e.replace(query_old=e.query_old.flip(1)), backfill_order(60, 3)
    options = {**options, "merge": Plain()} if "merge" in options else options
    curve = backfill_curve(served, order, RATIOS, metrics={"lost": Lost(3)}, before=e, **options)
    relevant, before = shown(e, order, 0.0, 3, 2)
    evaluated = relevant.any(1)
    for point, ratio in enumerate(RATIOS):
        now = shown(served, order, ratio, 3, 2)[1]
        lost = (before & ~now).sum(1) / before.sum(1).clamp_min(1)
        np.testing.assert_allclose(curve.mean("lost")[point], lost[evaluated].double().mean(), rtol=1e-6)
    assert curve.mean("lost")[0] > 0
    assert backfill_curve(e, order, RATIOS, metrics={"lost": Lost(3)}, before=e, **options).mean("lost")[0] == 0
    alone = backfill_curve(e, order, [0.0], per_query=True, **options)
    assert alone.first_rank is not None
    flips = backfill_curve(served, order, RATIOS, correct_before=alone.first_rank[:, 0, 0] == 1, **options)
    assert curve.negative_flip_rate.tolist() == flips.negative_flip_rate.tolist()


def test_losses_in_a_gallery_in_parts_equal_those_of_the_whole():
    e, _ = judged(random_embeddings(5), np.random.default_rng(5), min_grade=2)
    served, rows = e.replace(query_old=e.query_old.flip(1)), torch.arange(30)
    options: Any = {"metrics": {"lost": Lost(3)}}
    expected = backfill_curve(served, rows, RATIOS, before=e, **options)
    parts, before = ([whole.subset(items=some) for some in (rows[:11], rows[11:])] for whole in (served, e))
    found = backfill_curve(parts, rows, RATIOS, before=before, **options)
    for name, values in expected.figures.items():
        np.testing.assert_array_equal(found.figures[name], values, err_msg=name)
    with pytest.raises(InputError, match=r"before: \(queries, items\) \[\(12, 30\)\], expected \[\(12, 11\), "):
        backfill_curve(parts, rows, RATIOS, before=e, **options)


def test_merge_rules_by_rank_take_judgements():
    e, _ = judged(random_embeddings(5), np.random.default_rng(5))
    raw = backfill_curve(e, range(30), RATIOS, metrics=METRICS)
    found = backfill_curve(e, range(30), RATIOS, metrics=METRICS, merge=ReciprocalRank())
    for name in METRICS:  # at both ends there is one list alone
        np.testing.assert_allclose(found.mean(name)[[0, 2]], raw.mean(name)[[0, 2]], rtol=1e-12, err_msg=name)


def test_a_gallery_in_parts_equals_the_whole():
    e, _ = judged(random_embeddings(5), np.random.default_rng(5), min_grade=2)
    rows = np.arange(30)
    parts = [e.subset(items=rows[rows % 3 == 0]), e.subset(items=rows[rows % 3 > 0])]
    place = np.argsort(np.concatenate([rows[rows % 3 == 0], rows[rows % 3 > 0]]))
    order = backfill_order(30, 0)
    whole = backfill_curve(e, order, RATIOS, metrics=METRICS)
    found = backfill_curve(parts, place[order], RATIOS, metrics=METRICS)
    for name, values in whole.figures.items():
        np.testing.assert_allclose(found.figures[name], values, rtol=1e-12, err_msg=name)


def test_processes_give_the_same_figures(tmp_path):
    e, _ = judged(random_embeddings(7, 23, 61), np.random.default_rng(7), min_grade=2, share=0.1)
    order = [backfill_order(61, s) for s in range(2)]
    whole = backfill_curve(e, order, 7, per_query=True, metrics=CURVE_METRICS)
    fields = {name: getattr(e, name).numpy() for name in FIELDS if "labels" not in name}
    fields["relevance"] = e.relevance
    mp.start_processes(shards.replay, (2, tmp_path, fields, order), 2, start_method="spawn")
    results = list(tmp_path.glob("*.pt"))
    assert len(results) == 8
    assert whole.average_precision is not None
    for path in results:
        figures, first_rank, precision, queries = torch.load(path, weights_only=False)
        np.testing.assert_array_equal(first_rank, whole.first_rank)
        np.testing.assert_allclose(precision, whole.average_precision, rtol=1e-13)
        for name, values in figures.items():
            np.testing.assert_allclose(values, whole.figures[name], rtol=1e-13, err_msg=name)
        assert queries == whole.queries


def test_the_search_of_a_whole_gallery_equals_the_replay():
    e, _ = judged(random_embeddings(5), np.random.default_rng(5), min_grade=2)
    order = backfill_order(30, 0)
    curve, found = backfill_curve(e, order, RATIOS, metrics=("ndcg_10",)), topk_curve(e, order, RATIOS, k=30)
    np.testing.assert_allclose(found.ndcg, curve.figures["ndcg_10"][0], rtol=1e-12)
    np.testing.assert_allclose(found.mean_ap, curve.mean_ap, rtol=1e-12)
    np.testing.assert_array_equal(found.cmc[1], curve.cmc[1])
    assert (found.queries, found.queries_without_positive) == (curve.queries, curve.queries_without_positive)


def test_what_reads_all_relevant_pairs_takes_judgements_made_from_labels_alike():
    e = random_embeddings(5)
    rows = {name: getattr(e, name) for name in FIELDS if "labels" not in name}
    same = Embeddings(**rows, relevance=Relevance.of_labels(e.query_labels, e.gallery_labels))
    for one, other in zip(fused_curve(e, np.arange(30), 3), fused_curve(same, np.arange(30), 3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert calibration(e, True) == calibration(same, True)
    orders = []
    for of in (e, same):
        known = {"all matrices and labels": of}
        given = OrderGiven(Oracle.needs, known, "Oracle", items=30, progress=np.array(RATIOS))
        orders.append(Oracle().orders(given, [(0,)]))
    np.testing.assert_array_equal(orders[0], orders[1])


def test_a_subset_keeps_its_judgements():
    e, grades = judged(random_embeddings(1), np.random.default_rng(1))
    queries, items = [4, 0, 7], [20, 3, 2, 1, 0]
    found = e.subset(queries, items).relevance
    np.testing.assert_array_equal(found.dense(torch.arange(3)), grades[queries][:, items])
    with pytest.raises(InputError, match="gallery: a row given twice"):
        e.subset(items=[3, 3])


def test_a_query_without_a_relevant_item_is_skipped_and_counted():
    space = torch.eye(3)
    relevance = Relevance([0, 1, 1], [0, 1, 2], [2, 1, 0], shape=(3, 3), min_grade=2)
    curve = backfill_curve(Embeddings(space, space, space, space, relevance=relevance), range(3), metrics=["ndcg_10"])
    assert (curve.queries, curve.queries_without_positive) == (1, 2)
    assert curve.mean("ndcg_10").tolist() == [1.0] * 11


def test_equal_pairs_count_once():
    twice = Relevance([0, 0, 0], [1, 0, 1], [2, 1, 2], shape=(1, 2))
    assert (twice.items.tolist(), twice.grades.tolist()) == ([0, 1], [1, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 2], [0, 0]), "queries: 2 in row 1, expected 0 to 1"),
        (([0, 1], [0, 3]), "items: 3 in row 1, expected 0 to 2"),
        (([0, -1], [0, 0]), "queries: -1 in row 1, expected 0 to 1"),
        (([0, 1], [0, 0], [1, -1]), "grades: -1 in row 1, expected a whole number of 0 or more"),
        (([0, 1], [0, 0], [1, 0.5]), "grades: 0.5 in row 1, expected a whole number of 0 or more"),
        (([0, 1], [0, 0], [1, math.nan]), "grades: nan in row 1, expected a whole number of 0 or more"),
        (([0, 1, 0], [2, 0, 2], [1, 1, 2]), "grades: 2 in row 2 for query 0 and item 2, 1 in row 0, expected one"),
        (([0, 1], [0]), "relevance: 2 queries, 1 items and 2 grades, expected as many of each"),
        (([], []), "relevance: no judgement, expected at least one"),
        (([0], [0], [0]), "min_grade: 1, expected a judgement with a grade of 1 or more"),
        ((["a"], [0]), "queries: <U1 of shape (1,), expected row numbers, one a judgement"),
        (([0], [0], ["1"]), "grades: <U1 of shape (1,), expected whole numbers, one a judgement"),
    ],
)
def test_wrong_judgements_are_one_line(arguments, message):
    with pytest.raises(InputError) as caught:
        Relevance(*arguments, shape=(2, 3))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("min_grade", "message"),
    [
        (3, "min_grade: 3, expected at most 2, the highest grade"),
        (0, "min_grade: 0, expected at least 1"),
        (1.5, "min_grade: 1.5, expected a whole number"),
    ],
)
def test_a_wrong_threshold_is_one_line(min_grade, message):
    with pytest.raises(InputError, match=message):
        Relevance([0], [0], [2], shape=(2, 3), min_grade=min_grade)


def test_embeddings_take_labels_or_judgements():
    space, relevance = torch.eye(3), Relevance([0], [0], shape=(3, 3))
    with pytest.raises(InputError, match="query_labels: given beside relevance, expected labels or judgements"):
        Embeddings(space, space, space, space, [0, 1, 2], [0, 1, 2], relevance=relevance)
    with pytest.raises(InputError, match="gallery_labels: none, expected the labels of queries and gallery, or rel"):
        Embeddings(space, space, space, space, [0, 1, 2])
    with pytest.raises(InputError, match="relevance: of 3 queries and 2 items, expected 3 and 3"):
        Embeddings(space, space, space, space, relevance=Relevance([0], [0], shape=(3, 2)))
    wrong: Any = {}
    with pytest.raises(InputError, match=r"relevance: dict, expected a compat\.Relevance"):
        Embeddings(space, space, space, space, relevance=wrong)
