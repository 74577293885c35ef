"""Lambda-orthogonality and the contrastive loss that it takes: loops, by hand, a planted rotation."""

import math

import numpy as np
import pytest
import torch

from compat.losses import contrastive_loss
from compat.methods import (
    LambdaOrthogonality,
)
from compat.methods.orthogonality import orthogonality_penalty
from tests.helpers.pairs import made, normal, padded, paired, rotation, trained

NEW_OLD = pytest.mark.parametrize(("new_dim", "old_dim"), [(7, 4), (5, 5), (4, 7)])


def supcon(queries, references, labels, temperature):
    """Anchor by anchor and positive by positive."""
    unit = [[(row / row.norm()).tolist() for row in rows] for rows in (queries, references)]
    losses = []
    for i, query in enumerate(unit[0]):
        logits = [sum(a * b for a, b in zip(query, other, strict=True)) / temperature for other in unit[1]]
        everything = sum(math.exp(logit) for logit in logits)
        positives = [j for j in range(len(labels)) if labels[j] == labels[i]]
        losses.append(sum(-math.log(math.exp(logits[j]) / everything) for j in positives) / len(positives))
    return sum(losses) / len(losses)


def penalty(weight, bound, sharpness):
    """Entry by entry."""
    dim, total = len(weight), 0.0
    for i in range(dim):
        for j in range(dim):
            total += (sum(float(weight[i, k] * weight[j, k]) for k in range(dim)) - (i == j)) ** 2
    return math.sqrt(total) / (1 + math.exp(-sharpness * (math.sqrt(total) - bound)))


@pytest.mark.parametrize("seed", range(3))
def test_contrastive_loss_equals_loops(seed):
    queries, references = normal(9, 4, seed=seed), normal(9, 4, seed=seed + 10)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
    found = contrastive_loss(queries, references, labels, 0.3).item()
    assert found == pytest.approx(supcon(queries, references, labels, 0.3), rel=1e-5)


def test_contrastive_loss_by_hand():
    """Cosines 1 with itself and 0 with the other one, t = 1; two classes, then one."""
    rows = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    assert contrastive_loss(rows, rows, torch.tensor([0, 1]), 1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert contrastive_loss(rows, rows, torch.tensor([0, 0]), 1.0).item() == pytest.approx(math.log(1 + math.e) - 0.5)


@pytest.mark.parametrize(("bound", "sharpness"), [(0.0, 1.0), (5.0, 1.0), (12.0, 0.5)])
def test_orthogonality_penalty_equals_loops(bound, sharpness):
    weight = normal(4, 4)
    found = orthogonality_penalty(weight, bound, sharpness).item()
    assert found == pytest.approx(penalty(weight, bound, sharpness), rel=1e-5)


def test_orthogonality_penalty_by_hand():
    """|4I - I| = 3 sqrt 2; at the bound half of it counts, far below the bound nothing, far above it all."""
    weight, off = 2 * torch.eye(2), 3 * math.sqrt(2)
    for bound, share in ((off, 0.5), (off + 50, 0.0), (off - 50, 1.0)):
        assert orthogonality_penalty(weight, bound).item() == pytest.approx(share * off)


def test_orthogonality_penalty_of_the_identity_is_zero_with_a_finite_gradient():
    weight = torch.eye(3, requires_grad=True)
    loss = orthogonality_penalty(weight, 12.0)
    assert loss.item() == 0
    assert torch.isfinite(torch.autograd.grad(loss, weight)[0]).all()


@pytest.mark.parametrize(("new_dim", "old_dim"), [(5, 3), (3, 5)])
def test_lambda_orthogonality_s_terms_are_those_of_the_formula(new_dim, old_dim):
    pairs = paired(normal(8, old_dim), normal(8, new_dim, seed=1))
    method = made(LambdaOrthogonality, pairs, bound=2.0, forward=2.0, backward=3.0, contrast=5.0, hidden=8).eval()
    method.turn.weight.data = normal(5, 5, seed=2)
    wide = [torch.from_numpy(padded(rows, 5)).float() for rows in (pairs.old, pairs.new)]
    weight = method.turn.weight.detach()
    onward, turned, old = method.onward(pairs.old).detach(), wide[1] @ weight.T, wide[0]
    apart = {}
    for name, a, b in (("forward", onward, turned), ("backward", turned, old)):
        squares = [float(((x / x.norm() - y / y.norm()) ** 2).sum()) for x, y in zip(a, b, strict=True)]
        apart[name] = sum(squares) / len(squares)
    contrasts = [supcon(onward, other, pairs.label, 0.1) for other in (turned, old)]
    expected = {
        "forward": 2 * apart["forward"],
        "backward": 3 * apart["backward"],
        "contrast": 5 * sum(contrasts),
        "orthogonality": penalty(weight, 2.0, 1.0),
    }
    found = {name: value.item() for name, value in method.terms(pairs).items()}
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("new_dim", "old_dim"), [(5, 3), (3, 5)])
def test_lambda_orthogonality_serves_turned_queries_and_a_transformed_gallery(new_dim, old_dim):
    pairs = paired(normal(6, old_dim), normal(6, new_dim, seed=1))
    method = made(LambdaOrthogonality, pairs, hidden=8).eval()
    query_old, query_new = method.query(torch.full_like(pairs.old, torch.nan), pairs.new)
    gallery_old, gallery_new = method.gallery(pairs.old, torch.full_like(pairs.new, torch.nan))
    assert query_old is query_new
    assert torch.equal(query_new, torch.from_numpy(padded(pairs.new, 5)).float())
    assert torch.equal(gallery_old, method.onward(pairs.old))
    assert gallery_old.shape == gallery_new.shape == (6, 5)
    assert torch.equal(method.gallery(*pairs[:2])[1], query_new)
    assert method.encoder_passes == 1
    assert method.transforms_gallery


def test_strict_lambda_orthogonality_stays_orthogonal_and_finds_a_planted_rotation():
    new = normal(128, 4)
    pairs = paired(new @ rotation(4), new)
    method = made(LambdaOrthogonality, pairs, bound=None, hidden=16).eval()
    start, end = method.terms(pairs), trained(method, pairs, lr=0.1).terms(pairs)
    assert "orthogonality" not in end
    logged = method.trainer.callback_metrics
    assert [float(logged[f"turn/{name}"]) for name in ("off_orthogonality", "least", "largest")] == pytest.approx(
        [0, 1, 1], abs=1e-4
    )
    assert all(end[name] < start[name] for name in start)
    assert end["backward"] < 0.1 * start["backward"]
    torch.testing.assert_close(method.turn.weight @ method.turn.weight.T, torch.eye(4), atol=1e-5, rtol=0)


def test_what_became_of_lambda_orthogonality_s_map_is_logged():
    new = normal(64, 4)
    pairs = paired(new @ (3 * rotation(4)), new)
    method = trained(made(LambdaOrthogonality, pairs, bound=2.0, hidden=8), pairs, epochs=2)
    weight = method.turn.weight.detach().double().numpy()
    spread = np.linalg.eigvalsh(weight @ weight.T) ** 0.5
    error = ((weight @ weight.T - np.eye(4)) ** 2).sum() ** 0.5
    found = [
        float(method.trainer.callback_metrics[f"turn/{name}"]) for name in ("off_orthogonality", "least", "largest")
    ]
    assert found == pytest.approx([error, spread[0], spread[-1]], rel=1e-4, abs=1e-5)
