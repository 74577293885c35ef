"""Each loss against plain loops over the pairs of its definition, and a case worked out by hand."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from compat.losses import (
    Mode,
    alignment_loss,
    arcface_logits,
    batch_hard_triplet_loss,
    contrastive_loss,
    metric_compatible_loss,
    squared_distances,
)
from compat.methods.dsimplex import higher_order_loss
from compat.methods.ract import regression_alleviating_loss
from compat.methods.simclr import nt_xent_loss

MODES = ("old_only", "new_only", "independent", "joint")


def batch(seed=0, size=12, classes=4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    transformed, old, new = (torch.randn(size, dim, generator=random) for dim in (3, 3, 5))
    return transformed, old, new, torch.randint(0, classes, (size,), generator=random)


def distance(a, b, normalize):
    if normalize:
        a, b = a / a.norm(), b / b.norm()
    return float(((a - b) ** 2).sum())


def surprise(positives, negatives, reduction):
    """-log(s / (s + N)): its mean over the positives, or that of their sum."""
    if reduction == "inside":
        return -math.log(sum(positives) / (sum(positives) + negatives))
    return sum(-math.log(s / (s + negatives)) for s in positives) / len(positives)


def reference(
    transformed, old, new, labels, mode, temperature, k_pos, k_neg, normalize, reduction="outside", with_self=True
):
    """L_MCL pair by pair."""
    size = len(labels)
    old_terms, new_terms = [], []
    for i in range(size):
        s_old = [math.exp(-distance(transformed[i], old[j], normalize) / temperature) for j in range(size)]
        s_new = [math.exp(-distance(new[i], new[j], normalize) / temperature) for j in range(size)]
        positives = [j for j in range(size) if labels[j] == labels[i]]
        negatives = [j for j in range(size) if labels[j] != labels[i]]
        p_old = sorted(s_old[j] for j in positives if with_self or j != i)[:k_pos]
        p_new = sorted(s_new[j] for j in positives if j != i)[:k_pos]
        n_old = sum(sorted((s_old[j] for j in negatives), reverse=True)[:k_neg])
        n_new = sum(sorted((s_new[j] for j in negatives), reverse=True)[:k_neg])
        if mode == "joint":
            n_old = n_new = n_old + n_new
        if p_old:
            old_terms.append(surprise(p_old, n_old, reduction))
        if p_new:
            new_terms.append(surprise(p_new, n_new, reduction))
    old_term = sum(old_terms) / len(old_terms) if old_terms else 0.0
    new_term = sum(new_terms) / len(new_terms) if new_terms else 0.0
    return {"old_only": old_term, "new_only": new_term}.get(mode, old_term + new_term)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("reduction", ["outside", "inside"])
@pytest.mark.parametrize(("k_pos", "k_neg"), [(1, 10), (1, 2), (None, None), (2, None), (None, 3), (50, 50)])
@pytest.mark.parametrize("mode", MODES)
def test_metric_compatible_loss_equals_loops(mode, k_pos, k_neg, reduction, normalize):
    for seed in range(3):
        arrays = batch(seed)
        options = {"k_pos": k_pos, "k_neg": k_neg, "normalize": normalize, "reduction": reduction}
        for with_self in (True, False):
            found = metric_compatible_loss(*arrays, mode=mode, temperature=0.7, self_positive=with_self, **options)
            expected = reference(*arrays, mode, 0.7, with_self=with_self, **options)
            assert found.item() == pytest.approx(expected, rel=2e-5)


E = math.e


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (math.log(2 + 1 / E) + math.log(2 + E)) / 2),
        ({"reduction": "inside"}, math.log(2)),
        ({"k_pos": 1}, math.log(2 + E)),
        ({"k_pos": 1, "reduction": "inside"}, math.log(2 + E)),
        ({"k_neg": 1}, (math.log(2) + math.log(1 + E)) / 2),
        ({"self_positive": False, "reduction": "inside"}, (math.log(2 + 1 / E) + math.log(2 + E)) / 2),
    ],
)
def test_reduction_and_mining_by_hand(options, expected):
    """Queries at 0, old items of both classes at squared distances 0 and 1, t = 1: each anchor has positives 1 and
    1 / e and N = 1 + 1 / e; -log(s / (s + N)) is log(2 + 1 / e) and log(2 + e)."""
    queries, old = torch.zeros(4, 1), torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    options = {"mode": "old_only", "temperature": 1.0, "normalize": False, **options}
    found = metric_compatible_loss(queries, old, old, torch.tensor([0, 0, 1, 1]), **options)
    assert found.item() == pytest.approx(expected)


def test_metric_compatible_loss_by_hand():
    """Two images of two classes, unit vectors, t = 1: s^o_ii = 1, s^o_01 = s^n_01 = e^-2, no second term."""
    space = torch.eye(2)
    labels = torch.tensor([0, 1])
    joint = metric_compatible_loss(space, space, space, labels, temperature=1.0)
    assert joint.item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))
    alone = metric_compatible_loss(space, space, space, labels, temperature=1.0, mode="old_only")
    assert alone.item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert metric_compatible_loss(space, space, space, labels, mode="new_only").item() == 0


@pytest.mark.parametrize("options", [{}, {"reduction": "inside"}, {"self_positive": False}, {"k_pos": 1, "k_neg": 1}])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 0, 1]])
def test_one_sided_batches_have_finite_losses_and_gradients(mode, labels, options):
    """No negatives at all, no positives at all, one anchor alone in its class."""
    transformed, old, new = (torch.randn(4, 3, requires_grad=True) for _ in range(3))
    loss = metric_compatible_loss(transformed, old, new, torch.tensor(labels), mode=mode, **options)
    gradients = torch.autograd.grad(loss, (transformed, old, new), allow_unused=True)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)
    without_positives = labels == [0, 1, 2, 3] and (mode == "new_only" or options.get("self_positive") is False)
    if labels == [0, 0, 0, 0] or without_positives:
        assert loss.item() == 0


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "alignment": lambda a, b, y: alignment_loss(a, b),
    "outside": lambda a, b, y: metric_compatible_loss(a, b, a, y, temperature=0.01),
    "inside": lambda a, b, y: metric_compatible_loss(a, b, a, y, temperature=0.01, reduction="inside"),
    "contrastive": lambda a, b, y: contrastive_loss(a, b, y, 0.01),
    "ract": lambda a, b, y: regression_alleviating_loss(a, b, y, 0.01),
    "hoc": lambda a, b, y: higher_order_loss(a, b, y, 100.0),
    "nt_xent": lambda a, b, y: nt_xent_loss(a, b, 0.01),
    "arcface": lambda a, b, y: arcface_logits(a, b[:4], y, 100.0).square().mean(),
    "triplet": lambda a, b, y: batch_hard_triplet_loss(a, y),
}


@pytest.mark.parametrize("labels", [[0, 0, 0, 0, 0], [0, 1, 2, 3, 1], [0, 1, 2, 3, 4]])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_finite_and_those_of_float32_for_bfloat16_and_a_temperature_of_a_hundredth(name, labels):
    """Under autocast too; batches of a single class and, but for ArcFace's four classes, of different ones alone."""
    classes = torch.tensor(labels) % (4 if name == "arcface" else 5)
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, 16, generator=random).bfloat16().requires_grad_() for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[name](a, b, classes)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(LOSSES[name](a.float(), b.float(), classes).item(), rel=1e-5, abs=1e-6)
    gradients = torch.autograd.grad(loss, (a, b), allow_unused=True)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)


def test_identical_embeddings_and_a_temperature_of_a_hundredth_have_finite_gradients():
    rows = torch.ones(6, 8, dtype=torch.bfloat16).requires_grad_()
    loss = metric_compatible_loss(rows, rows, rows, torch.arange(6) % 2, temperature=0.01)
    loss.backward()
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()
    assert loss.item() == pytest.approx(2 * math.log(7), abs=1e-3)


def test_joint_teaches_psi_about_the_new_space_only_through_the_negatives():
    """With a constant new space, the second term reaches psi through s^o in its negatives (arXiv 2301.03767)."""
    transformed, old, new, labels = batch()
    transformed.requires_grad_()
    modes: dict[Mode, bool] = {"new_only": False, "joint": True, "independent": True}
    for mode, reaches in modes.items():
        loss = metric_compatible_loss(transformed, old, new, labels, mode=mode)
        assert loss.requires_grad is reaches


@pytest.mark.parametrize("normalize", [True, False])
def test_alignment_loss_equals_loops(normalize):
    transformed, old, _, _ = batch()
    expected = sum(distance(a, b, normalize) for a, b in zip(transformed, old, strict=True)) / len(old)
    assert alignment_loss(transformed, old, normalize).item() == pytest.approx(expected, rel=1e-5)


def test_alignment_loss_by_hand():
    a, b = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    assert alignment_loss(a, b, normalize=False).item() == pytest.approx((16 + 1) / 2)
    assert alignment_loss(a, b).item() == pytest.approx((0.4**2 + 0.8**2) / 2)


def test_distances_stay_in_float32_under_autocast():
    transformed, old, _, _ = batch()
    with torch.autocast("cpu", torch.bfloat16):
        found = squared_distances(transformed, old)
    assert torch.equal(found, squared_distances(transformed, old))


@pytest.mark.parametrize("normalize", [True, False])
def test_squared_distances_equal_loops(normalize):
    transformed, old, _, _ = batch()
    found = squared_distances(transformed, old, normalize)
    for i in range(len(transformed)):
        for j in range(len(old)):
            assert found[i, j].item() == pytest.approx(distance(transformed[i], old[j], normalize), abs=1e-5)


def test_batch_hard_triplets_equal_plain_loops():
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(12, 4, generator=random, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 1, 0])  # 3 has no positive
    losses = []
    for anchor in range(12):
        apart = [float((rows[anchor] - other).norm()) for other in rows]
        positives = [apart[i] for i in range(12) if labels[i] == labels[anchor] and i != anchor]
        negatives = [apart[i] for i in range(12) if labels[i] != labels[anchor]]
        if positives:
            losses.append(max(0.0, 0.3 + max(positives) - min(negatives)))
    assert float(batch_hard_triplet_loss(rows, labels, 0.3)) == pytest.approx(sum(losses) / len(losses), rel=1e-9)


def test_batch_hard_triplets_by_hand():
    """On a line at 0, 1 (class 0) and 3 (class 1): anchor 0: 0.5 + 1 - 3 < 0; anchor 1: 0.5 + 1 - 2 < 0; with a margin
    of 2: 0 and 1, a mean of 0.5. The single image of class 1 is no anchor."""
    rows, labels = torch.tensor([[0.0], [1.0], [3.0]], requires_grad=True), torch.tensor([0, 0, 1])
    assert float(batch_hard_triplet_loss(rows, labels, 0.5)) == 0.0
    loss = batch_hard_triplet_loss(rows, labels, 2.0)
    loss.backward()
    assert float(loss) == pytest.approx(0.5)
    assert rows.grad is not None
    assert rows.grad.flatten().tolist() == pytest.approx([-0.5, 1.0, -0.5])


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_batch_hard_triplets_without_any_triplet_are_zero(labels):
    rows = torch.randn(3, 2, requires_grad=True)
    loss = batch_hard_triplet_loss(rows, torch.tensor(labels))
    loss.backward()
    assert float(loss) == 0.0
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()
