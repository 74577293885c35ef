"""NCCL and DMU: a neighbourhood in the old space, and an inheritance of it."""

import math

import pytest
import torch
from torch import nn

from compat.methods import DMU, NCCL
from compat.methods.dmu import discriminativeness
from compat.methods.nccl import neighbourhood_loss
from tests.helpers.joint_loops import (
    class_means,
    cosine,
    cut,
    entropy,
    mean,
    normal,
    prepared,
    through,
    told_by_means,
    unit,
)
from tests.helpers.pairs import LABELS

DIMS = pytest.mark.parametrize(("old_dim", "new_dim"), [(3, 5), (4, 4), (5, 3)])


def test_nccl_contrasts_with_its_own_images_and_others_where_there_are_more_than_the_queue():
    method, teacher = prepared(NCCL, queue=10)
    rows = torch.arange(0, 24, 4)
    shown = method.shown(rows)
    assert torch.equal(shown[:6], rows)
    assert len(shown) == 10
    assert not torch.equal(method.shown(rows)[6:], shown[6:])
    assert torch.equal(prepared(NCCL, queue=3)[0].shown(rows), rows)
    assert torch.equal(prepared(NCCL, queue=24)[0].shown(rows), torch.arange(24))
    (new,) = normal((6, 5))
    terms = method.terms(new, teacher.old[rows], LABELS[rows], rows)
    assert all(value.isfinite() for value in terms.values())


def test_nccl_s_loss_falls_towards_a_neighbourhood_in_the_old_space():
    """It is less among the own class than among another; by hand, with one positive of weight 1/2."""
    old = unit(torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.1, 1.0], [-0.1, 1.0]]))
    labels = torch.tensor([0, 0, 1, 1])
    same, weights = labels[:, None] == labels, (1 + old @ old.T) / 2
    losses = [neighbourhood_loss(new @ old.T, same, weights, 0.2).item() for new in (old, old.flip(0))]
    assert losses[0] < losses[1]
    by_hand = neighbourhood_loss(torch.zeros(1, 2), torch.tensor([[True, False]]), torch.tensor([[0.5, 1.0]]))
    assert by_hand.item() == pytest.approx(0.5 * math.log(2))


@DIMS
def test_dmu_s_terms_are_those_of_the_formula(old_dim, new_dim):
    method, teacher = prepared(DMU, old_dim, new_dim, inheritance=0.5, adaptation=2.0, temperature=0.3, hidden=8)
    nn.init.normal_(method.network[-1].weight)
    rows = torch.arange(23, 3, -2)
    (new,), old, y = normal((10, new_dim)), teacher.old[rows], LABELS[rows]
    means = class_means(unit(teacher.old), LABELS)
    found = {name: value.item() for name, value in method.train().terms(new, old, y, rows).items()}
    layer = method.classifier.linear
    adapted = (cut(old, new_dim) + through(method.network, old)).detach()
    cosines = torch.tensor([[cosine(row, mu) for mu in means] for row in cut(new, old_dim)])
    each = [entropy(row[None] / 0.3, [k], 0) for row, k in zip(cosines, y, strict=True)]
    apart = mean([((a - b) ** 2).sum() for a, b in zip(unit(adapted), unit(new), strict=True)])
    with torch.no_grad():
        expected = {
            "classification": entropy(through([layer], new), y),
            "inheritance": 0.5 * mean(told_by_means(old, means, y, 0.3) * torch.tensor(each)),
            "adaptation": 2 * (apart + entropy(through([layer], adapted), y)),
        }
    assert found == pytest.approx(expected, rel=1e-4)


@DIMS
def test_dmu_serves_the_new_query_to_an_adapted_gallery_that_is_the_old_one_at_first(old_dim, new_dim):
    method, teacher = prepared(DMU, old_dim, new_dim, hidden=8)
    (new,) = normal((24, new_dim))
    with torch.no_grad():
        query, gallery = method.eval().query(teacher.old * torch.nan, new), method.gallery(teacher.old, new)
    assert query[0] is query[1] is gallery[1] is new
    assert torch.equal(gallery[0], cut(teacher.old, new_dim))
    assert (method.encoder_passes, method.transforms_gallery) == (1, True)


def test_dmu_inherits_more_from_what_is_discriminative():
    means = torch.eye(3)
    sure = discriminativeness(
        torch.tensor([[5.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]), means, torch.zeros(3, dtype=torch.long)
    )
    assert sure[0] > 0.99
    assert sure[1].item() == pytest.approx(0.5, abs=0.01)
    assert sure[2] < 0.01
