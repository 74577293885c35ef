"""What the methods that train the new model compute: against plain loops, by hand, and planted solutions."""

import math

import pytest
import torch

from compat.losses import arcface_logits
from compat.methods import Teacher
from compat.methods.advbct import class_radii, elastic_radii, point_to_set_loss
from compat.methods.bct import extended_classifier
from compat.methods.dmu import discriminativeness
from compat.methods.dsimplex import higher_order_loss, places, turned
from compat.methods.lce import boundary_loss
from compat.methods.mixbct import credible
from compat.methods.nccl import neighbourhood_loss
from compat.methods.oca import cosine_to_means
from compat.methods.ract import regression_alleviating_loss
from compat.methods.unibct import refined_prototype
from compat.models import simplex
from tests.helpers.joint_loops import (
    KNOWN,
    arcface,
    class_means,
    closest,
    contrast,
    cosine,
    diffused,
    drawn_to,
    elastic,
    extended,
    from_own,
    higher_order,
    normal,
    outside,
    point_to_set,
    radii_of,
    told_by_means,
    unit,
)


@pytest.mark.parametrize("seed", range(3))
def test_pure_functions_equal_loops(seed):
    z, o, mu, weight, bounds, w, b = normal((12, 3), (12, 3), (4, 3), 4, 4, (2, 3), 2, seed=seed)
    y, radii = torch.randperm(12) % 4, bounds.abs()
    rows, bias = extended_classifier(w, b, Teacher(o, z, y, KNOWN))
    expected_rows, expected_bias = extended(w, b, class_means(o, y))
    for found, expected in [
        (rows, expected_rows),
        (bias, expected_bias),
        (arcface_logits(z, mu, y, 20.0, 0.8), arcface(z, mu, y, 20.0, 0.8)),
        (regression_alleviating_loss(z, o, y, 0.1, 4), contrast(z, o, y, 0.1, 4)),
        (regression_alleviating_loss(z, o, y, 0.1, 99), contrast(z, o, y, 0.1, 99)),
        (refined_prototype(o, unit(z), 0.8, 0.1), diffused(o, unit(z), 0.8, 0.1)),
        (class_radii(o, y, mu), radii_of(o, y, mu)),
        (class_radii(o, y % 3, mu[:3], 0.6), radii_of(o, y % 3, mu[:3], 0.6)),
        (elastic_radii(radii, weight, 0.6), elastic(radii, weight, 0.6)),
        (point_to_set_loss(z, y, mu, radii), point_to_set(z, y, mu, radii)),
        (credible(o, y, 0.7), closest(o, y, 0.7)),
        (cosine_to_means(z, mu, y), from_own(z, y, mu)),
        (higher_order_loss(z, o, y, 3.0), higher_order(z, o, y, 3.0)),
        (
            neighbourhood_loss(z @ o.T, y[:, None] == y, (o @ o.T).abs(), 0.5),
            drawn_to(z @ o.T, y[:, None] == y, (o @ o.T).abs(), 0.5),
        ),
        (discriminativeness(o, mu, y, 0.3), told_by_means(o, mu, y, 0.3)),
        (boundary_loss(z, mu, bounds, y), outside(z, y, mu, bounds)),
    ]:
        torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-4, atol=1e-5)


def test_turned_is_the_best_of_all_turns_and_reflections():
    vertices, (means,) = simplex(2), normal((3, 2))
    turns = [(math.cos(i / 500), math.sin(i / 500)) for i in range(3142)]
    every = [vertices @ torch.tensor([[c, m * s], [-s, m * c]]) for c, s in turns for m in (1, -1)]
    best = max(sum(map(cosine, rows, means)) for rows in every)
    assert sum(map(cosine, turned(vertices, means), means)) == pytest.approx(best, abs=1e-5)


def test_pure_functions_by_hand():
    """On the axes of a plane, on a line, and for the diffusion at angles of 0, 30 and 70 degrees, whose nearest
    neighbours are 30, 0 and 30: v = (o_0 + v_1, o_1 + v_0, o_2 + v_1) / 2."""
    axes, two, line = torch.eye(2), torch.tensor([0, 1]), torch.tensor([[1.0], [2], [3], [4], [100], [5]])
    five, point = torch.tensor([0, 0, 0, 0, 0, 1]), torch.tensor([[3.0, 4.0]] * 3)
    teacher = Teacher(torch.tensor([[0.0, 3.0], [0.0, 9.0], [5.0, 0.0]]), axes, torch.tensor([0, 0, 1]), two - 1)
    rows, bias = extended_classifier(torch.tensor([[2.0, 0.0]]), torch.tensor([7.0]), teacher)
    angles = torch.tensor([0.0, 30.0, 70.0]).deg2rad()
    space, third = torch.stack([angles.cos(), angles.sin()], 1), torch.tensor([0, 1, 2])
    far, of = torch.tensor([1, 2, 3, 4, 7, 1, 2, 3, 4, 7.5, 5, 1, 2, 9])[:, None], [0] * 5 + [1] * 5 + [2] + [3] * 3
    means, radii = torch.tensor([[0.6, 0.0], [0.6, 0.8], [0.0, 0.0]]), torch.tensor([0.3, 0.1, 0.0])
    for found, expected in [
        (rows, [[0.0, 2.0], [2.0, 0.0]]),
        (bias, [7.0, 7.0]),
        (arcface_logits(axes, axes, two, 2.0, math.pi / 3), [[1.0, 0.0], [0.0, 1.0]]),
        (arcface_logits(axes[:1], -axes, two[:1], 2.0, 0.5), [[-2 - math.sin(0.5), 0.0]]),
        (regression_alleviating_loss(axes, axes, two, 1.0), math.log(1 + 2 / math.e)),
        (refined_prototype(torch.tensor([[0.0], [3], [3]]), space, 0.5, 0.001), [(1 + 2 + 2.5) / 3]),
        (refined_prototype(line[:1], space[:1]), [1.0]),
        (class_radii(far, torch.tensor(of), torch.zeros(4, 1)), [7.0, 4.0, 0.0, 9.0]),
        (class_radii(far, torch.tensor(of), torch.zeros(4, 1), 0.5), [3.0, 2.5, 0.0, 2.0]),
        (places(torch.tensor([1, -1, 0, -1]), 2), [1, 2, 0, 3]),
        (places(torch.tensor([-1, -1]), 3), [3, 4]),
        (elastic_radii(torch.tensor([0.5, 1.5]), torch.zeros(2)), [0.75, 1.25]),
        (point_to_set_loss(point, third, means, radii), 0.5),
        (point_to_set_loss(point[:1], third[1:2], means, radii), 0.0),
        (credible(line, five, 0.8), [True, True, True, True, False, True]),
        (credible(line, five, 0.65), [True, True, True, True, False, True]),
        (cosine_to_means(axes, axes, torch.tensor([0, 0])), 0.5),
        (simplex(1), [[1.0], [-1.0]]),
        (turned(simplex(1), torch.tensor([[-3.0], [1.0]])), [[-1.0], [1.0]]),
        (higher_order_loss(axes, axes, two, 1.0), math.log(2) - 1),
        (boundary_loss(axes, axes, torch.tensor([0.2, 0.5]), torch.tensor([0, 0])), 0.1),
    ]:
        torch.testing.assert_close(found, torch.as_tensor(expected))


@pytest.mark.parametrize("dim", [2, 5, 30])
def test_vertices_are_unit_vectors_equally_far_apart(dim):
    vertices = simplex(dim)
    expected = torch.full((dim + 1, dim + 1), -1 / dim).fill_diagonal_(1.0)
    torch.testing.assert_close(vertices @ vertices.T, expected, atol=1e-5, rtol=0)


def test_a_turned_simplex_and_unchanged_spaces_are_found_again():
    turn, old = torch.linalg.qr(normal((5, 5))[0]).Q, unit(normal((12, 5), seed=1)[0])
    torch.testing.assert_close(turned(simplex(5), 3 * simplex(5) @ turn), simplex(5) @ turn, atol=1e-5, rtol=0)
    labels = torch.arange(12) % 4
    means = Teacher(old, old, labels, KNOWN).means()
    lowest = torch.tensor([min(cosine(row, means[c]) for row in old[labels == c]) for c in range(4)])
    for loss, least in [
        (lambda new: higher_order_loss(new, old, labels), None),
        (lambda new: regression_alleviating_loss(new, old, labels), None),
        (lambda new: cosine_to_means(new, means, labels), None),
        (lambda new: boundary_loss(new, means, lowest, labels), 0.0),
        (lambda new: point_to_set_loss(new, labels, means, class_radii(old, labels, means)), 0.0),
    ]:
        assert loss(old) < loss(old @ turn)
        assert least is None or loss(old).item() == pytest.approx(least, abs=1e-6)
    even = refined_prototype(old[:4], old[:1].expand(4, -1))
    torch.testing.assert_close(even, old[:4].mean(0), atol=1e-5, rtol=1e-4)


def test_column_softmax_of_the_public_code_leaves_the_prototype_as_it_is():
    """Its S has columns that sum to 1, and so have (1 - a)(I - a S)^-1 and the sum of the refined embeddings."""
    old, new = normal((7, 3), (7, 4))
    similar = (unit(new) @ unit(new).T / 0.05).fill_diagonal_(-torch.inf)
    refined = 0.1 * torch.linalg.inv(torch.eye(7) - 0.9 * similar.softmax(0)) @ old
    torch.testing.assert_close(refined.mean(0), old.mean(0), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(refined_prototype(old, unit(new)), old.mean(0), atol=1e-2)
