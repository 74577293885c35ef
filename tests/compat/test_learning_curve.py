"""Learning while backfilling: exact between refits, blind to what is not migrated, and never worse than what served."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from compat import Embeddings, backfill_curve
from compat.errors import InputError
from compat.experience import Learner, OwnBack, OwnCalibration, OwnForward, Seen, learning_curve
from compat.experience.agreement import Way, agreement, gain, surely_better
from compat.experience.seen import as_before, before
from compat.methods import Procrustes, Upgrade
from compat.models import Precomputed
from compat.progress import backfill_order
from tests.pairs import normal, rotation
from tests.spaces import slow_curve

DIM, ITEMS, CLASSES = 8, 240, 6
PROGRESS = (0.0, 0.1, 0.25, 0.4, 0.7, 1.0)
REFIT = (0.4, 0.6)


def gallery(shared: bool, seed: int = 0) -> Embeddings:
    """Queries and items in classes: the old space sees them through noise, the new one clearly and rotated; or the two
    spaces have nothing to do with each other."""
    labels = torch.arange(ITEMS) % CLASSES
    centres = F.normalize(normal(CLASSES, DIM, seed=seed + 3), dim=1)
    hidden = F.normalize(centres[labels] + 0.25 * normal(ITEMS, DIM, seed=seed + 4), dim=1)
    old = F.normalize(hidden + 0.2 * normal(ITEMS, DIM, seed=seed + 5), dim=1)
    new = hidden @ rotation(DIM)
    if not shared:
        old, new = (F.normalize(normal(ITEMS, DIM, seed=seed + n), dim=1) for n in (6, 7))
    rows = torch.arange(ITEMS)
    return Embeddings(old, new, old, new, labels, labels, rows, rows)


def learner(kind=OwnForward, **options):
    return kind(Precomputed(DIM), Precomputed(DIM), **options)


def upgrade(kind=Upgrade):
    return kind(Precomputed(DIM), Precomputed(DIM))


def curve(e, kind=OwnForward, orders=1, base=None, progress=PROGRESS, refit=REFIT, **options):
    order = [backfill_order(len(e.gallery_old), seed) for seed in range(orders)]
    return learning_curve(e, base or upgrade(), learner(kind, **options), order, refit, progress)


HANDED: list[Seen] = []


class Watching(Learner):
    """Notes what it is handed, and searches by what it was handed last."""

    def refit(self, seen, known):
        HANDED.append(seen)
        return as_before(seen, known)._replace(gallery=seen.old * (1 + len(seen.migrated)))


class Greedy(Learner):
    """Looks for new embeddings of other items in the memory of what it is handed."""

    def refit(self, seen, known):
        for rows in (seen.new, seen.before, seen.old):
            behind = torch.empty(0, dtype=rows.dtype).set_(rows.untyped_storage())
            assert len(behind) <= rows.numel()
        assert len(seen.new) == len(seen.migrated) < len(seen.old)
        assert not set(vars(seen)) - {"old", "migrated", "new", "before"}
        return as_before(seen, known)


class Collecting(Learner):
    """Keeps what it is handed, and queries too, which are the gallery here, to serve them at the next refit."""

    def __init__(self, old, new):
        super().__init__(old, new)
        self.known = torch.zeros(ITEMS, DIM)

    def refit(self, seen, known):
        self.known[seen.migrated] = seen.new
        items = torch.where(self.known.any(1)[:, None], self.known, seen.old)

        def query(old, new):
            self.known.copy_(new)
            items.copy_(new)
            return new

        return as_before(seen, known)._replace(query=query, gallery=items)


class Forgetting(Collecting):
    """The same, and it is not there at the next moment."""

    def refit(self, seen, known):
        self.known = torch.zeros(ITEMS, DIM)
        served = super().refit(seen, known)
        return served._replace(query=lambda old, new: new, gallery=served.gallery.clone())


@pytest.mark.parametrize("kind", [OwnForward, OwnBack, OwnCalibration, Learner])
def test_the_curve_is_that_of_each_moment_s_own_matrices(kind):
    e = gallery(shared=True)
    found, took = curve(e, kind, orders=2)
    assert found.progress.tolist() == list(PROGRESS)
    assert (found.mean_ap_orders.shape, took.seconds.shape) == ((2, 6), (2, 3))
    assert found.average_precision is not None
    for s in range(2):
        order = backfill_order(ITEMS, s)
        for moment, points in ((0.0, (0, 1, 2)), (0.4, (3,)), (0.6, (4, 5))):
            rows = torch.from_numpy(order[: int(moment * ITEMS)].copy())
            seen, known = Seen(e.gallery_old, rows, e.gallery_new[rows]), before(upgrade())
            serving = learner(kind).refit(seen, known)
            query = serving.query(e.query_old, e.query_new)
            labels = (e.query_labels, e.gallery_labels, e.query_groups, e.gallery_groups)
            served = Embeddings(query, e.query_new, serving.gallery, e.gallery_new, *labels)
            at = [PROGRESS[point] for point in points]
            if serving.merge is None:
                slow = slow_curve(served, order, at, "cosine")
                assert found.mean_ap_orders[s, list(points)] == pytest.approx(slow["mean_ap"], abs=1e-6)
            else:
                whole = backfill_curve(served, order, at, merge=serving.merge)
                assert found.mean_ap_orders[s, list(points)] == pytest.approx(whole.mean_ap)


def test_a_learner_that_proposes_nothing_changes_nothing():
    e = gallery(shared=True)
    found, took = curve(e, Learner, orders=2)
    plain = backfill_curve(e, [backfill_order(ITEMS, s) for s in range(2)], PROGRESS, per_query=True)
    for name in ("mean_ap", "mean_ap_orders", "negative_flip_rate", "average_precision", "first_rank"):
        np.testing.assert_allclose(getattr(found, name), getattr(plain, name))
    assert found.cmc[1].tolist() == plain.cmc[1].tolist()
    assert (took.passes == 2).all()
    assert (took.rewritten == 0).all()


def test_own_pairs_win_where_the_spaces_are_related():
    e = gallery(shared=True)
    plain, _ = curve(e, Learner)
    for kind, options in ((OwnForward, {}), (OwnForward, {"world": "rotation"}), (OwnBack, {"world": "rotation"})):
        found, took = curve(e, kind, **options)
        assert (found.mean_ap[3:5] > plain.mean_ap[3:5] + 0.02).all()
        assert found.mean_ap[[0, 1, 2, 5]] == pytest.approx(plain.mean_ap[[0, 1, 2, 5]])
        assert took.passes.tolist() == [[2, 1, 1]]
        left = [0, 144, 96] if kind is OwnForward else [0, 0, 0]
        assert took.rewritten.tolist() == [[4 * DIM * items for items in left]]


@pytest.mark.parametrize("kind", [OwnForward, OwnBack])
@pytest.mark.parametrize("seed", [0, 10, 20])
def test_independent_spaces_are_recognised_and_the_old_path_keeps_serving(kind, seed):
    _, took = curve(gallery(shared=False, seed=seed), kind, refit=(0.05, 0.1, 0.2, 0.5), progress=21)
    assert (took.passes == 2).all()


def test_nothing_that_is_not_migrated_changes_what_is_served():
    e = gallery(shared=True)
    order = backfill_order(ITEMS, 0)
    later = torch.from_numpy(order[int(0.4 * ITEMS) :].copy())
    other = e.gallery_new.index_copy(0, later, normal(len(later), DIM, seed=30))
    served = []
    for new in (e.gallery_new, other):
        rows = torch.from_numpy(order[: int(0.4 * ITEMS)].copy())
        serving = learner().refit(Seen(e.gallery_old, rows, new[rows]), before(upgrade()))
        served.append((serving.gallery, serving.passes))
    assert torch.equal(served[0][0], served[1][0])
    assert served[0][1] == served[1][1] == 1
    changed = Embeddings(e.query_old, e.query_new, e.gallery_old, other, *(e.query_labels, e.gallery_labels))
    HANDED.clear()
    for matrices in (e, changed):
        learning_curve(matrices, upgrade(), learner(Watching), [order], (0.4,), (0.4, 0.5))
    first, second = HANDED
    assert torch.equal(first.new, second.new)
    assert torch.equal(first.old, second.old)


def test_a_learner_that_looks_ahead_finds_nothing():
    e = gallery(shared=True)
    curve(e, Greedy)
    keeping, forgetting = (curve(e, kind, orders=2, refit=(0.05, 0.4, 0.6))[0] for kind in (Collecting, Forgetting))
    assert keeping.mean_ap_orders.tolist() == forgetting.mean_ap_orders.tolist()


def test_every_refit_is_made_and_counted_whatever_is_plotted():
    e = gallery(shared=True)
    few, many = (curve(e, refit=(0.1, 0.2, 0.4), progress=points)[1] for points in ((0.0, 1.0), 21))
    for name in ("passes", "rewritten"):
        assert getattr(few, name).tolist() == getattr(many, name).tolist()
    assert (few.passes > 0).all()


def test_what_was_learned_by_a_trained_method_serves_until_own_pairs_do_better():
    e = gallery(shared=True)
    base = upgrade(Procrustes)
    base.rotation = rotation(DIM).T
    served = Embeddings(
        base.back(e.query_old, e.query_new),
        e.query_new,
        e.gallery_old,
        e.gallery_new,
        e.query_labels,
        e.gallery_labels,
        e.query_groups,
        e.gallery_groups,
    )
    alone = backfill_curve(served, backfill_order(ITEMS, 0), PROGRESS)
    for kind in (OwnForward, OwnBack):
        found, took = curve(served, kind, base=base)
        assert (found.mean_ap > alone.mean_ap - 0.01).all()
        assert (took.passes == 1).all()


def test_a_model_that_does_not_converge_is_told_of_once_and_the_old_path_serves(monkeypatch):
    def fail(*_):
        raise np.linalg.LinAlgError("singular matrix")

    monkeypatch.setattr("compat.experience.regressions.Gaussian.fit_rest", fail)
    e = gallery(shared=True)
    with pytest.warns(UserWarning, match="OwnForward learned nothing from own pairs") as told:
        found, took = curve(e, orders=2)
    assert len(told) == 1
    assert "(singular matrix); what served before goes on serving" in str(told[0].message)
    plain, _ = curve(e, Learner, orders=2)
    assert found.mean_ap.tolist() == plain.mean_ap.tolist()
    assert (took.passes == 2).all()


def test_equal_pairs_and_few_pairs_leave_the_old_path(monkeypatch):
    e = gallery(shared=True)
    labels = (e.query_labels, e.gallery_labels)
    equal = Embeddings(e.query_old, e.query_new, torch.ones(ITEMS, DIM), e.gallery_new, *labels)
    with pytest.warns(UserWarning, match="all 96 old embeddings are equal"):
        _, took = curve(equal)
    assert (took.passes == 2).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, took = curve(e, refit=(0.001, 0.01, 0.03), progress=(0.002, 0.02, 0.03))  # 0, 2 and 7 items
    assert (took.passes[took.passes > 0] == 2).all()


@pytest.mark.parametrize(
    ("refit", "message"),
    [
        ((0.5, 1.5), r"refit: 1.5, expected shares of the gallery in \[0, 1\]"),
        ((-0.1,), r"refit: -0.1, expected"),
        ((float("nan"),), "refit: nan, expected"),
        ((0.5, 0.2), "refit: .*, expected ascending"),
        ((0.5, 0.5), "refit: .*, expected ascending"),
    ],
)
def test_refit_points_out_of_range(refit, message):
    with pytest.raises(InputError, match=message):
        curve(gallery(shared=True), Learner, refit=refit)


OLD = torch.eye(4)


@pytest.mark.parametrize(
    ("migrated", "new", "message"),
    [
        ([1, 2, 1], torch.ones(3, 2), "migrated: item 1 twice, expected each item once"),
        ([1, 4], torch.ones(2, 2), "migrated: item 4, expected one of the 4 of the gallery"),
        ([1, -1], torch.ones(2, 2), "migrated: item -1, expected"),
        ([1, 2], torch.ones(3, 2), "for 2 items, expected a row of each"),
        ([1, 2], torch.ones(2), "expected a row of each"),
        ([3, 2], torch.tensor([[1.0, 0], [torch.nan, 0]]), "NaN or infinite in the new embedding of item 2, expected"),
    ],
)
def test_pairs_that_cannot_be(migrated, new, message):
    with pytest.raises(InputError, match=message):
        Seen(OLD, torch.tensor(migrated), new)


def test_more_pairs_join_those_before():
    seen = Seen(OLD, torch.tensor([1]), torch.ones(1, 2)).joined(torch.tensor([3, 0]), torch.zeros(2, 2))
    assert seen.migrated.tolist() == [1, 3, 0]
    assert torch.equal(seen.before, OLD[[1, 3, 0]])
    with pytest.raises(InputError, match="item 3 twice"):
        seen.joined(torch.tensor([3]), torch.ones(1, 2))
    with pytest.raises(InputError, match=r"pairs: shape \(1, 5\), expected 2 columns"):
        seen.joined(torch.tensor([2]), torch.ones(1, 5))


def test_agreement_is_one_for_the_new_system_itself_and_counts_a_hand_made_case():
    new = F.normalize(normal(40, 5), dim=1)
    assert agreement(Way(new, new), new, 0.3).tolist() == [1.0] * 40
    line = torch.tensor([[1.0, a] for a in (0.0, 0.1, 0.3, 0.6, 1.0, 1.5)])
    turned = line[[0, 3, 2, 1, 4, 5]]  # to the first, the second is where the fourth was
    assert agreement(Way(line, turned), line, 0.0)[0] == pytest.approx(1 / 3)
    assert agreement(Way(line, turned), line, 1.0)[0] == 1


def test_a_way_has_to_be_better_by_more_than_chance():
    noise = normal(50)
    assert not surely_better(0.05 * noise - noise.mean() / 20)
    assert not surely_better(torch.zeros(50))
    assert surely_better(0.1 + 0.05 * noise)


def test_putting_last_what_is_not_migrated_is_not_agreement():
    new, old = (F.normalize(normal(200, DIM, seed=seed), dim=1) for seed in (0, 1))
    last, standard = Way(torch.ones(200, 1), -torch.ones(200, 1)), Way(old, old)
    assert agreement(last, new, 0.5).mean() > agreement(standard, new, 0.5).mean()
    assert gain(last, standard, new, 0.5, [200]) == 0
    assert gain(Way(new, new), standard, new, 0.5, [100, 100]) > 0.3
    assert gain(standard, standard, new, 0.5, [200]) == 0
