"""Learning while backfilling: exact between refits, blind to what is not migrated, and never worse than what served."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from compat import Embeddings, backfill_curve
from compat.errors import InputError
from compat.experience import Learner, OwnBack, OwnCalibration, OwnForward, SeenItems
from compat.experience.agreement import CandidateSearch, agreement, gain, is_better
from compat.experience.seen import baseline
from compat.methods import Procrustes
from compat.progress import backfill_order
from tests.helpers.own_pairs import DIM, ITEMS, PROGRESS, REFIT, curve, gallery, learner, upgrade
from tests.helpers.pairs import normal, rotation
from tests.helpers.spaces import slow_curve


@pytest.mark.parametrize("kind", [OwnForward, OwnBack, OwnCalibration, Learner])
def test_the_curve_is_that_of_each_moment_s_own_matrices(kind):
    e = gallery(shared=True)
    found, took = curve(e, kind, orders=2)
    assert found.progress.tolist() == list(PROGRESS)
    assert (found.figures["mean_ap"].shape, took.seconds.shape) == ((2, 6), (2, 3))
    assert found.average_precision is not None
    for s in range(2):
        order = backfill_order(ITEMS, s)
        for moment, points in ((0.0, (0, 1, 2)), (0.4, (3,)), (0.6, (4, 5))):
            rows = torch.from_numpy(order[: int(moment * ITEMS)].copy())
            seen, known = SeenItems(e.gallery_old, rows, e.gallery_new[rows]), baseline(upgrade())
            serving = learner(kind).refit(seen, known)
            query = serving.query(e.query_old, e.query_new)
            labels = (e.query_labels, e.gallery_labels, e.query_groups, e.gallery_groups)
            served = Embeddings(query, e.query_new, serving.gallery, e.gallery_new, *labels)
            at = [PROGRESS[point] for point in points]
            if serving.merge is None:
                slow = slow_curve(served, order, at, "cosine")
                assert found.figures["mean_ap"][s, list(points)] == pytest.approx(slow["mean_ap"], abs=1e-6)
            else:
                whole = backfill_curve(served, order, at, merge=serving.merge)
                assert found.figures["mean_ap"][s, list(points)] == pytest.approx(whole.mean_ap)


def test_a_learner_that_proposes_nothing_changes_nothing():
    e = gallery(shared=True)
    found, took = curve(e, Learner, orders=2)
    plain = backfill_curve(e, [backfill_order(ITEMS, s) for s in range(2)], PROGRESS, per_query=True)
    for name in ("average_precision", "first_rank"):
        np.testing.assert_allclose(getattr(found, name), getattr(plain, name))
    for name in plain.figures:
        np.testing.assert_allclose(found.figures[name], plain.figures[name])
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
        assert ((took.mapping > 0) == (took.rewritten > 0)).all()


def test_errors_expected_and_observed_are_of_what_is_left_where_it_is_searched_by_expectations():
    e = gallery(shared=True)
    _, took = curve(e)
    order = backfill_order(ITEMS, 0)
    for k, moment in enumerate((0.0, *REFIT)):
        rows, left = order[: int(moment * ITEMS)], order[int(moment * ITEMS) :]
        serving = learner().refit(
            SeenItems(e.gallery_old, torch.from_numpy(rows), e.gallery_new[rows]), baseline(upgrade())
        )
        if serving.passes == 2:
            assert np.isnan([took.expected[0, k], took.observed[0, k]]).all()
            continue
        squared = [float(((serving.gallery[row] - e.gallery_new[row]) ** 2).sum()) for row in left]
        assert took.observed[0, k] == pytest.approx(np.mean(squared), rel=1e-5)
        assert took.expected[0, k] == pytest.approx(np.mean(squared), rel=0.3)
    _, took = curve(e, OwnBack)
    assert np.isnan(took.observed).all()


@pytest.mark.parametrize("kind", [OwnForward, OwnBack])
@pytest.mark.parametrize("seed", [0, 10, 20])
def test_independent_spaces_are_recognised_and_the_old_path_keeps_serving(kind, seed):
    _, took = curve(gallery(shared=False, seed=seed), kind, refit=(0.05, 0.1, 0.2, 0.5), progress=21)
    assert (took.passes == 2).all()


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
        base.query_for_old(e.query_old, e.query_new),
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

    monkeypatch.setattr("compat.experience.regressions.Gaussian.fit_residuals", fail)
    e = gallery(shared=True)
    with pytest.warns(UserWarning, match="OwnForward learned nothing from own pairs") as told:
        found, took = curve(e, orders=2)
    assert len(told) == 1
    assert "(singular matrix); the baseline keeps serving" in str(told[0].message)
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
        SeenItems(OLD, torch.tensor(migrated), new)


def test_more_pairs_join_those_before():
    seen = SeenItems(OLD, torch.tensor([1]), torch.ones(1, 2)).joined(torch.tensor([3, 0]), torch.zeros(2, 2))
    assert seen.migrated.tolist() == [1, 3, 0]
    assert torch.equal(seen.before, OLD[[1, 3, 0]])
    with pytest.raises(InputError, match="item 3 twice"):
        seen.joined(torch.tensor([3]), torch.ones(1, 2))
    with pytest.raises(InputError, match=r"pairs: shape \(1, 5\), expected 2 columns"):
        seen.joined(torch.tensor([2]), torch.ones(1, 5))


def test_agreement_is_one_for_the_new_system_itself_and_counts_a_hand_made_case():
    new = F.normalize(normal(40, 5), dim=1)
    assert agreement(CandidateSearch(new, new), new, 0.3, 8).tolist() == [1.0] * 40
    line = torch.tensor([[1.0, a] for a in (0.0, 0.1, 0.3, 0.6, 1.0, 1.5)])
    turned = line[[0, 3, 2, 1, 4, 5]]  # to the first, the second is where the fourth was
    assert agreement(CandidateSearch(line, turned), line, 0.0, 1)[0] == pytest.approx(1 / 3)
    assert agreement(CandidateSearch(line, turned), line, 0.0, 2)[0] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert agreement(CandidateSearch(line, turned), line, 1.0, 1)[0] == 1


def test_a_way_has_to_be_better_by_more_than_chance():
    noise = normal(50)
    assert not is_better(0.05 * noise - noise.mean() / 20)
    assert not is_better(torch.zeros(50))
    assert is_better(0.1 + 0.05 * noise)


def test_putting_last_what_is_not_migrated_is_not_agreement():
    new, old = (F.normalize(normal(200, DIM, seed=seed), dim=1) for seed in (0, 1))
    last, standard = CandidateSearch(torch.ones(200, 1), -torch.ones(200, 1)), CandidateSearch(old, old)
    assert agreement(last, new, 0.5, 39).mean() > agreement(standard, new, 0.5, 39).mean()
    assert gain(last, standard, new, 0.5, [200]) == 0
    assert gain(CandidateSearch(new, new), standard, new, 0.5, [100, 100]) > 0.3
    assert gain(standard, standard, new, 0.5, [200]) == 0


def test_what_finds_the_far_and_loses_the_near_does_not_serve():
    """The old space knows the four that belong together and nothing of their cells; the way knows the cells alone."""
    cells = F.normalize(normal(5, DIM, seed=3), dim=1).repeat_interleave(40, 0)
    fours, noise = normal(50, DIM, seed=4).repeat_interleave(4, 0), normal(200, DIM, seed=5)
    new = F.normalize(cells + 0.05 * fours + 0.001 * noise, dim=1)
    near = F.normalize(fours + 0.01 * noise, dim=1)
    far = F.normalize(cells + 0.05 * noise, dim=1)
    way, standard = CandidateSearch(far, far), CandidateSearch(near, near)
    wide = [agreement(one, new, 0.5, 39).mean() for one in (way, standard)]
    assert wide[0] > wide[1] + 0.1
    assert gain(way, standard, new, 0.5, [200]) == 0
    assert gain(CandidateSearch(new, new), standard, new, 0.5, [200]) > 0.1
