"""Each metric of the table against other people's code, with and without ties, on every way to compute it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score
from torchmetrics.functional import retrieval

from compat import Embeddings, backfill_curve, backfill_order
from compat.curve_metrics import ALWAYS, CMC, CURVE_METRICS, NDCG, CurveMetric, Recall
from compat.engine.exact import distances
from compat.errors import InputError
from compat.merge import Merge, ReciprocalRank
from compat.sequence import overlapping_curve
from tests.helpers.spaces import random_embeddings

FURTHER = [name for name in CURVE_METRICS if name not in ALWAYS]
RATIOS = [0.0, 0.3, 1.0]


def map_at_r(scores, relevant):
    """By hand, as pytorch-metric-learning defines it; torchmetrics has none."""
    count, found, total = int(relevant.sum()), 0, 0.0
    for rank, item in enumerate(scores.argsort(descending=True)[:count].tolist(), 1):
        if relevant[item]:
            found += 1
            total += found / rank
    return total / count


def found_in(scores, relevant):
    """The number of relevant items among the first ten; torchmetrics divides by it."""
    return int(relevant[scores.argsort(descending=True)[:10]].sum())


REFERENCES = {
    "mrr": lambda scores, relevant: float(retrieval.retrieval_reciprocal_rank(scores, relevant)),
    "r_1": lambda scores, relevant: float(retrieval.retrieval_hit_rate(scores, relevant, top_k=1)),
    "r_precision": lambda scores, relevant: float(retrieval.retrieval_r_precision(scores, relevant)),
    "map_at_r": map_at_r,
    "ndcg_10": lambda scores, relevant: (
        ndcg_score(relevant[None].numpy(), scores[None].numpy(), k=10) if len(scores) > 1 else 1.0
    ),
    "mrr_10": lambda scores, relevant: float(retrieval.retrieval_reciprocal_rank(scores, relevant, top_k=10)),
    "map_10": lambda scores, relevant: (
        float(retrieval.retrieval_average_precision(scores, relevant, top_k=10))
        * found_in(scores, relevant)
        / relevant.sum()
    ),
    "precision_10": lambda scores, relevant: float(retrieval.retrieval_precision(scores, relevant, top_k=10)),
    "judged_10": lambda scores, relevant: 1.0,
    "recall_10": lambda scores, relevant: float(retrieval.retrieval_recall(scores, relevant, top_k=10)),
}


def references(e, order, distance="cosine"):
    """Name -> (T,): every query's list ranked anew, of equal distances what is not relevant first."""
    old, new = (distances(*space, distance) for space in ((e.query_old, e.gallery_old), (e.query_new, e.gallery_new)))
    curves: dict[str, list[float]] = {name: [] for name in REFERENCES}
    for ratio in RATIOS:
        backfilled = torch.zeros(len(order), dtype=torch.bool)
        backfilled[torch.tensor(order[: math.floor(ratio * len(order))].copy())] = True
        values: dict[str, list[float]] = {name: [] for name in REFERENCES}
        for query, label in enumerate(e.query_labels):
            kept = e.gallery_groups != e.query_groups[query]
            relevant, merged = (e.gallery_labels == label)[kept], new[query].where(backfilled, old[query])[kept]
            place = np.lexsort((relevant.numpy(), merged.numpy())).argsort()
            scores = torch.from_numpy(1 / (1.0 + place))
            for name, reference in REFERENCES.items() if relevant.any() else ():
                values[name].append(reference(scores, relevant))
        for name, of_queries in values.items():
            curves[name].append(float(np.mean(of_queries)))
    return curves


def test_every_metric_has_a_reference():
    assert REFERENCES.keys() == set(FURTHER) - {"lost_10"}  # of two systems: tests/compat/test_relevance.py


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(1, 60),
    classes=st.integers(1, 5),
    tied=st.booleans(),
    distance=st.sampled_from(["cosine", "l2"]),
)
def test_equals_what_others_compute_on_every_backend(seed, items, classes, tied, distance):
    e = random_embeddings(seed, 8, items, tied, classes, True)
    order = backfill_order(items, seed)
    e.query_labels[0], e.query_groups[0] = e.gallery_labels[0], -1
    expected = references(e, order, distance)
    for options in ({"backend": "numba"}, {"backend": "torch", "query_chunk": 3}):
        curve = backfill_curve(e, order, RATIOS, metrics=FURTHER, distance=distance, **options)
        for name, values in expected.items():
            np.testing.assert_allclose(curve.mean(name), values, rtol=1e-6, err_msg=name)
    merged = backfill_curve(e, order, RATIOS, metrics=FURTHER, distance=distance, merge=Plain())
    for name, values in expected.items():
        np.testing.assert_allclose(merged.mean(name), values, rtol=1e-6, err_msg=name)


class Plain(Merge):
    """Raw distances, computed by the engine of merge rules."""

    changes = True


@pytest.mark.parametrize("tied", [False, True])
def test_parts_and_sequences_give_the_same(tied):
    e = random_embeddings(7, 9, 40, tied)
    order = backfill_order(40, 1)
    whole = backfill_curve(e, order, RATIOS, metrics=FURTHER)
    half = torch.arange(40) < 17
    parts = [
        Embeddings(
            e.query_old, e.query_new, e.gallery_old[of], e.gallery_new[of], e.query_labels, e.gallery_labels[of],
            e.query_groups, e.gallery_groups[of],
        )
        for of in (half, ~half)
    ]  # fmt: skip
    divided = backfill_curve(parts, order, RATIOS, metrics=FURTHER)
    after = overlapping_curve(e, e, 0.4, [backfill_order(40, 3)], [order], RATIOS, metrics=FURTHER)
    for name in FURTHER:
        np.testing.assert_allclose(divided.figures[name], whole.figures[name], rtol=1e-13)
        np.testing.assert_allclose(after.figures[name], whole.figures[name], rtol=1e-13)


def test_by_hand_with_ties_what_is_not_relevant_comes_first():
    """Distances 0, 1, 1, 1, 2 with relevance 0, 1, 1, 0, 1: ranks of the relevant items are 3, 4 and 5."""
    gallery = np.array([[0.0], [1.0], [-1.0], [1.0], [2.0]])
    e = Embeddings([[0.0]], [[0.0]], gallery, gallery, [1], [0, 1, 1, 0, 1])
    curve = backfill_curve(e, range(5), [0.0], metrics=FURTHER, distance="l2")
    found = {name: float(curve.mean(name)[0]) for name in FURTHER}
    gains, ideal = [1 / math.log2(rank + 1) for rank in (3, 4, 5)], [1 / math.log2(rank + 1) for rank in (1, 2, 3)]
    expected = {"mrr": 1 / 3, "mrr_10": 1 / 3, "map_10": (1 / 3 + 2 / 4 + 3 / 5) / 3, "precision_10": 0.3, "lost_10": 0}
    expected |= {"judged_10": 1}
    expected |= {"mrr": 1 / 3, "r_1": 0, "r_precision": 1 / 3, "map_at_r": 1 / 9, "recall_10": 1}
    assert found == pytest.approx({**expected, "ndcg_10": sum(gains) / sum(ideal)})
    assert float(curve.mean_ap[0]) == pytest.approx((2 * 2 / 4 + 3 / 5) / 3)  # the tied ones as a group


def test_a_cut_off_of_ones_own_and_a_metric_of_ones_own():
    class Share(CurveMetric):
        label = "share of the first half"
        needs_ranks = True

        def of(self, found):
            return (found.ranks <= 15).sum(-1) / 15

    e = random_embeddings(3, 9, 30)
    asked = {"recall_30": Recall(30), "ndcg_1": NDCG(1), "cmc_2": CMC(2), "half": Share()}
    curve = backfill_curve(e, range(30), RATIOS, top_k=(1, 2), metrics=asked)
    assert set(curve.figures) == {"mean_ap", "cmc_1", "cmc_2", "negative_flip_rate", "recall_30", "ndcg_1", "half"}
    assert curve.mean("recall_30") == pytest.approx(1)
    np.testing.assert_allclose(curve.mean("ndcg_1"), curve.cmc[1])
    assert (curve.mean("half") > 0).all()
    assert asked["recall_30"].label == "Recall@30"


def test_a_rule_by_ranks_has_all_metrics_too():
    e = random_embeddings(5, 9, 30)
    curve = backfill_curve(e, range(30), RATIOS, metrics=FURTHER, merge=ReciprocalRank())
    raw = backfill_curve(e, range(30), RATIOS, metrics=FURTHER)
    for name in FURTHER:  # at both ends there is one list alone
        np.testing.assert_allclose(curve.mean(name)[[0, 2]], raw.mean(name)[[0, 2]], rtol=1e-12)


def test_wrong_metrics_are_one_line():
    e = random_embeddings(0)
    with pytest.raises(InputError, match=r"metrics: 'mrrr', expected some of mean_ap, cmc_1"):
        backfill_curve(e, range(30), metrics=["mrrr"])
    with pytest.raises(InputError, match="k: 0, expected at least 1"):
        Recall(0)
