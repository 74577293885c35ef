"""The orders: permutations, cases by hand, what each may look at; and the gains of the oracle by brute force."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compat import Embeddings, backfill_curve, backfill_order
from compat.engine.exact import EngineGallery, Queries
from compat.errors import InputError
from compat.gains import backfill_gains
from compat.models import Classifier
from compat.orders import (
    ClassDistance,
    Clusters,
    Density,
    Entropy,
    Margin,
    Oracle,
    Order,
    OrderGiven,
    Random,
    Scores,
    Uncertainty,
)
from tests.helpers.spaces import random_embeddings

SEEDS = [(0, 0), (0, 1), (0, 2)]


def classifier(weight):
    made = Classifier(len(weight[0]), len(weight))
    with torch.no_grad():
        made.linear.weight.copy_(torch.as_tensor(weight))
        made.linear.bias.zero_()
    return made


@dataclass(frozen=True)
class Known:
    """All that there is to know of an upgrade."""

    embeddings: Embeddings
    old: torch.Tensor
    classifier: Classifier | None
    uncertainty: torch.Tensor | None
    progress: np.ndarray
    distance: Any = "cosine"

    def given(self, order: Order) -> OrderGiven:
        """What an order declared of it."""
        values = {
            "old gallery": self.old,
            "old classifier": lambda: self.classifier,
            "served old gallery": self.embeddings.gallery_old,
            "gallery labels": self.embeddings.gallery_labels,
            "uncertainty": self.uncertainty,
            "all matrices and labels": self.embeddings,
            "a file": None,
        }
        facts = {"items": len(self.old), "progress": self.progress, "distance": self.distance}
        return OrderGiven(order.needs, values, type(order).__name__, **facts)


def orders_of(order, facts, seeds):
    return order.orders(facts.given(order), seeds)


def known(seed=0, queries=6, items=20, **changes):
    e = random_embeddings(seed, queries, items)
    random = np.random.default_rng((seed, 1))
    facts: dict[str, Any] = {
        "embeddings": e,
        "old": e.gallery_old.float(),
        "classifier": classifier(random.normal(size=(5, 3))),
        "uncertainty": torch.from_numpy(random.normal(size=items)),
        "progress": np.linspace(0, 1, 6),
    }
    return Known(**{**facts, **changes})


def seen_from(old, **changes):
    """What is known of a gallery of which the old rows matter alone."""
    return known(items=len(old), old=torch.as_tensor(old, dtype=torch.float32), **changes)


def order_of(order, facts):
    found = orders_of(order, facts, SEEDS)
    assert found.dtype == np.int64
    return found[0].tolist()


@pytest.fixture
def scores(tmp_path):
    """A file with the scores of twenty items."""
    np.save(tmp_path / "scores.npy", np.random.default_rng(0).integers(0, 9, 20))
    return Scores(str(tmp_path / "scores.npy"))


PLAIN = {
    Random(): (),
    Density(): ("old gallery",),
    Density(2): ("old gallery",),
    Clusters(): ("old gallery",),
    Clusters(3): ("old gallery",),
    Entropy(): ("old gallery", "old classifier"),
    Margin(): ("old gallery", "old classifier"),
    Uncertainty(): ("uncertainty",),
    ClassDistance(): ("served old gallery", "gallery labels"),
    Oracle(): ("all matrices and labels",),
    Oracle(reverse=True): ("all matrices and labels",),
}


@pytest.mark.parametrize("order", PLAIN)
@pytest.mark.parametrize("items", [3, 20])
def test_orders_are_permutations(order, items):
    found = orders_of(order, known(items=items), SEEDS)
    assert found.dtype == np.int64
    assert found.shape == (len(SEEDS) if isinstance(order, Random | Clusters) else 1, items)
    np.testing.assert_array_equal(np.sort(found), np.broadcast_to(np.arange(items), found.shape))
    np.testing.assert_array_equal(found, orders_of(order, known(items=items), SEEDS))


@pytest.mark.parametrize("order", PLAIN)
def test_orders_look_only_at_what_they_need(order):
    """All else is changed: labels, new embeddings, queries, head, uncertainty, and the old gallery as it is served."""
    assert order.needs == PLAIN[order]
    facts, other = known(0), known(1)
    changed = replace(facts, embeddings=other.embeddings)
    if "old classifier" not in order.needs:
        changed = replace(changed, classifier=None)
    if "uncertainty" not in order.needs:
        changed = replace(changed, uncertainty=None)
    if isinstance(order, Oracle | ClassDistance):
        e, o = facts.embeddings, other.embeddings
        assert not np.array_equal(orders_of(order, facts, SEEDS), orders_of(order, changed, SEEDS))
        if isinstance(order, Oracle):
            changed = replace(changed, embeddings=e, old=other.old)
        else:
            labels = (o.query_labels, e.gallery_labels, o.query_groups, o.gallery_groups)
            rows = (o.query_old, o.query_new, e.gallery_old, o.gallery_new)
            changed = replace(changed, embeddings=Embeddings(*rows, *labels), old=other.old)
    np.testing.assert_array_equal(orders_of(order, facts, SEEDS), orders_of(order, changed, SEEDS))


def test_random_is_the_order_of_its_seed():
    found = orders_of(Random(), known(), SEEDS)
    np.testing.assert_array_equal(found, [backfill_order(20, seed) for seed in SEEDS])


def test_the_largest_uncertainty_is_first():
    assert order_of(Uncertainty(), known(items=4, uncertainty=torch.tensor([0.5, -2.0, 3.0, 0.5]))) == [2, 0, 3, 1]


def test_entropy_and_margin_by_hand():
    """Logits are logarithms of the probabilities; beyond the classifier's columns nothing is looked at."""
    probabilities = torch.tensor([[0.98, 0.01, 0.01], [0.49, 0.49, 0.02], [0.4, 0.35, 0.25], [0.7, 0.15, 0.15]])
    old = torch.cat([probabilities.log(), torch.full((4, 2), 99.0)], 1)
    facts = seen_from(old, classifier=classifier(np.eye(3)))
    assert order_of(Entropy(), facts) == [2, 3, 1, 0]  # entropies 1.08, 0.82, 0.78, 0.11
    assert order_of(Margin(), facts) == [1, 2, 3, 0]  # margins 0, 0.05, 0.55, 0.97
    expected = -(probabilities * probabilities.log()).sum(1)
    torch.testing.assert_close(Entropy().scores(facts.given(Entropy())), expected.double())


def test_the_densest_neighbourhood_is_first():
    """By angle: the lengths of the rows do not matter."""
    angles, lengths = np.deg2rad([180, 0, 90, 2, 5]), np.array([[1], [9], [2], [0.1], [1]])
    facts = seen_from(lengths * np.stack([np.cos(angles), np.sin(angles)], 1))
    assert order_of(Density(2), facts) == [3, 1, 4, 2, 0]
    assert order_of(Density(1), facts)[:2] == [1, 3]
    assert order_of(Density(), facts)[-1] == 0  # of fewer than ten others


def test_the_farthest_from_its_class_is_first():
    """Class 7 is at 0, 0 and 9, its mean at 3; class 9 at 100 and 120, its mean at 110; 5 is its mean."""
    rows = np.array([[0.0], [0.0], [100.0], [9.0], [120.0], [50.0]])
    e = Embeddings(rows[:1], rows[:1], rows, rows, [7], [7, 7, 9, 7, 9, 5])
    facts = known(items=6, embeddings=e, distance="l2")
    assert ClassDistance().scores(facts.given(ClassDistance())).tolist() == [3, 3, 10, 6, 10, 0]
    assert order_of(ClassDistance(), facts) == [2, 4, 3, 0, 1, 5]


def test_under_cosine_retrieval_the_farthest_from_its_class_is_the_one_of_another_direction():
    """Class 7 at 0, 0 and 90 degrees, the first ten times as long: the mean of unit vectors is (2/3, 1/3)."""
    rows = np.array([[10.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    e = Embeddings(rows[:1], rows[:1], rows, rows, [7], [7, 7, 7, 5])
    scores = ClassDistance().scores(known(items=4, embeddings=e).given(ClassDistance())).tolist()
    assert scores == pytest.approx([2**0.5 / 3, 2**0.5 / 3, 8**0.5 / 3, 0.0])


def test_clusters_are_backfilled_one_after_the_other():
    random = np.random.default_rng(0)
    cluster = random.permutation(np.repeat(np.arange(3), 8))
    facts = seen_from(np.eye(3)[cluster] + random.normal(size=(24, 3)) / 50)
    found = cluster[orders_of(Clusters(3), facts, [(0, number) for number in range(20)])]
    assert ((np.diff(found) != 0).sum(1) == 2).all()
    assert len({tuple(turn) for turn in found[:, ::8]}) > 3


def test_a_file_of_scores(tmp_path, scores):
    facts, values = known(), np.load(scores.path)
    order = order_of(scores, facts)
    assert (np.diff(values[order]) <= 0).all()
    assert sorted(order) == list(range(20))
    assert scores.needs == ("a file",)
    np.testing.assert_array_equal(order, order_of(scores, known(1, classifier=None, uncertainty=None)))
    wrong = {"short": np.ones(19), "wide": np.ones((20, 1)), "infinite": np.full(20, np.inf)}
    for name, content in wrong.items():
        np.save(tmp_path / f"{name}.npy", content)
        with pytest.raises(InputError, match=rf"replay\.by: .*{name}\.npy, shape .*, expected 20 finite scores"):
            Scores(str(tmp_path / f"{name}.npy")).scores(facts.given(scores))
    (tmp_path / "text.npy").write_text("1, 2, 3")
    (tmp_path / "empty.npy").touch()
    for name in ("none", "text", "empty"):
        with pytest.raises(InputError, match=rf"replay\.by: .*{name}\.npy .*, expected scores in a \.npy file"):
            Scores(str(tmp_path / f"{name}.npy")).scores(facts.given(scores))


def test_what_is_missing_is_named():
    facts = known(classifier=None, uncertainty=None)
    for order in (Entropy(), Margin()):
        with pytest.raises(InputError, match=r"replay\.by: the old model has no classifier, expected weights with one"):
            orders_of(order, facts, SEEDS)
    assert facts.given(Uncertainty())["uncertainty"] is None
    with pytest.raises(InputError, match="needs: 'gallery labels' was not declared by Entropy, expected it among its"):
        facts.given(Entropy())["gallery labels"]


@pytest.mark.parametrize(
    ("order", "message"),
    [(Density(5), "neighbours: 5, expected at most 4"), (Clusters(6), "clusters: 6, expected at most 5")],
)
def test_more_than_there_are_items_is_refused(order, message):
    order.check(6)
    with pytest.raises(InputError, match=f"^{message}, as the gallery has 5 items$"):
        order.check(5)
    with pytest.raises(InputError, match=message):
        orders_of(order, known(items=5), SEEDS)


def slow_gains(e, backfilled, distance):
    """The curve of every order that begins with those that are backfilled and one more item."""
    items, done = len(backfilled), np.flatnonzero(backfilled)
    gains, left = np.zeros(items), np.flatnonzero(~backfilled)
    if len(left):
        orders = [np.concatenate([done, [item], left[left != item]]) for item in left]
        points = (len(done) + np.array([0.5, 1.5])) / items  # half a step, so that floor is exact
        points = points if points[1] <= 1 else np.array([points[0], 1.0])
        curve = backfill_curve(e, orders, points, distance=distance)
        gains[left] = curve.queries * np.diff(curve.figures["mean_ap"])[:, 0]
    return gains


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(1, 16),
    classes=st.integers(1, 5),
    tied=st.booleans(),
    grouped=st.booleans(),
    share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    distance=st.sampled_from(["l2", "cosine"]),
)
def test_gains_are_those_of_backfilling_one_more(seed, items, classes, tied, grouped, share, distance):
    e = random_embeddings(seed, 6, items, tied, classes, grouped)
    e.query_labels[0], e.query_groups[0] = e.gallery_labels[0], -1
    backfilled = np.random.default_rng(seed).random(items) < share
    steps = torch.zeros(1, items, dtype=torch.int64)
    gallery = EngineGallery(e.gallery_old, e.gallery_new, e.gallery_labels, e.gallery_groups, steps, 1, distance)
    gains = backfill_gains(Queries(e.query_old, e.query_new, e.query_labels, e.query_groups), gallery, backfilled)
    np.testing.assert_allclose(gains, slow_gains(e, backfilled, distance), atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_with_a_point_for_each_item_the_oracle_takes_the_best_one(reverse):
    facts = known(3, items=9, progress=(np.arange(9) + 0.5) / 9)
    order = orders_of(Oracle(reverse), facts, SEEDS)[0]
    for count in range(9):
        backfilled = np.isin(np.arange(9), order[:count])
        gains = slow_gains(facts.embeddings, backfilled, "cosine") * (-1 if reverse else 1)
        assert gains[order[count]] == pytest.approx(gains[~backfilled].max(), abs=1e-12)


@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_the_oracle_is_better_than_random_and_reversed_worse(distance):
    facts = known(5, 20, 60, distance=distance)

    def auc(order):
        return backfill_curve(facts.embeddings, orders_of(order, facts, SEEDS), 6, distance=distance).auc

    assert auc(Oracle()) > auc(Random()) + 0.02
    assert auc(Oracle(reverse=True)) < auc(Random()) - 0.02
