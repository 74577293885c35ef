"""Adapters from the new space to the old one: closed forms against numpy, scipy and scikit-learn, planted maps."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge
from torch import Tensor

from compat.errors import InputError
from compat.losses import contrastive_loss
from compat.methods import (
    Affine,
    KernelQuery,
    LambdaOrthogonality,
    Procrustes,
    QueryDrift,
    ResidualMLP,
    Slerp,
)
from compat.methods.affine import ridge, truncated
from compat.methods.orthogonality import orthogonality_penalty
from compat.methods.procrustes import procrustes
from compat.methods.scaling import diagonal_scaling
from compat.methods.slerp import slerp
from compat.needs import Given
from tests.pairs import embedders, normal, paired, rotation, trained

NEW_OLD = pytest.mark.parametrize(("new_dim", "old_dim"), [(7, 4), (5, 5), (4, 7)])


def made(kind, pairs, **options):
    """The method for the dimensions of the pairs."""
    return kind(*embedders(pairs.old.shape[1], pairs.new.shape[1]), **options)


def solved(kind, pairs, **options):
    method = made(kind, pairs, **options)
    values = {"training embeddings": pairs, "training labels": pairs.label}
    method.learn(Given(method.needs, values, kind.__name__), lambda module: None)
    return method.eval()


@torch.no_grad()
def error(method, pairs) -> float:
    return F.mse_loss(method.back(pairs.old, pairs.new), pairs.old).item()


def padded(rows: Tensor, dim: int) -> np.ndarray:
    return np.pad(rows.double().numpy(), ((0, 0), (0, dim - rows.shape[1])))


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


@NEW_OLD
def test_procrustes_equals_scipy_s_on_rows_padded_to_the_larger_dimension(new_dim, old_dim):
    new, old, dim = normal(30, new_dim), normal(30, old_dim, seed=1), max(new_dim, old_dim)
    expected, _ = orthogonal_procrustes(padded(new, dim), padded(old, dim))
    found = procrustes(new, old).numpy()
    np.testing.assert_allclose(found, expected[:new_dim, :old_dim], atol=1e-9)
    gram = found.T @ found if new_dim > old_dim else found @ found.T
    np.testing.assert_allclose(gram, np.eye(min(new_dim, old_dim)), atol=1e-9)


@NEW_OLD
@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 1.0])
def test_ridge_equals_scikit_learn_s(new_dim, old_dim, alpha):
    new, old = normal(30, new_dim) + 3, normal(30, old_dim, seed=1) - 2
    centred = new.double().numpy() - new.double().numpy().mean(0)
    expected = Ridge(alpha * (centred**2).sum() / new_dim).fit(new.double().numpy(), old.double().numpy())
    weight, bias = ridge(new, old, alpha)
    np.testing.assert_allclose(weight.numpy(), expected.coef_.T, atol=1e-9)
    np.testing.assert_allclose(bias.numpy(), expected.intercept_, atol=1e-9)


@NEW_OLD
@pytest.mark.parametrize("rank", [1, 3, 4])
def test_truncated_equals_numpy_s_and_has_the_rank(new_dim, old_dim, rank):
    weight = normal(new_dim, old_dim).double()
    u, s, v = np.linalg.svd(weight.numpy(), full_matrices=False)
    s[rank:] = 0
    found = truncated(weight, rank).numpy()
    np.testing.assert_allclose(found, u @ np.diag(s) @ v, atol=1e-9)
    assert np.linalg.matrix_rank(found) == rank


@pytest.mark.parametrize("rank", [None, 2])
def test_affine_leaves_residuals_without_a_mean(rank):
    pairs = paired(normal(40, 4, seed=1) + 5, normal(40, 6) - 3)
    found = solved(Affine, pairs, rank=rank).back(pairs.old, pairs.new)
    torch.testing.assert_close(found.mean(0), pairs.old.mean(0))


@pytest.mark.parametrize("rank", [0, -1, 4])
def test_a_rank_that_the_map_cannot_have_is_named(rank):
    with pytest.raises(InputError, match=f"rank: {rank}, expected 1 to 3"):
        Affine(*embedders(3, 5), rank=rank)


@NEW_OLD
def test_procrustes_recovers_a_planted_rotation(new_dim, old_dim):
    dim = max(new_dim, old_dim)
    turn = rotation(dim)[:new_dim, :old_dim]
    new = normal(40, new_dim) if new_dim <= old_dim else normal(40, old_dim) @ turn.T
    pairs = paired(new @ turn, new)
    for center in (True, False):
        assert error(solved(Procrustes, pairs, center=center), pairs) < 1e-10
    torch.testing.assert_close(solved(Procrustes, pairs, center=False).rotation, turn, atol=1e-5, rtol=0)


def test_a_shift_beside_the_rotation_needs_the_centred_procrustes():
    new = normal(40, 5) + 1
    pairs = paired(new @ rotation(5) + torch.tensor([4.0, 0.0, -3.0, 2.0, 1.0]), new)
    assert error(solved(Procrustes, pairs), pairs) < 1e-10
    assert error(solved(Procrustes, pairs, center=False), pairs) > 0.5


@NEW_OLD
def test_affine_recovers_a_planted_affine_map(new_dim, old_dim):
    new, weight, bias = normal(40, new_dim) + 2, normal(new_dim, old_dim, seed=1), normal(old_dim, seed=2)
    method = solved(Affine, paired(new @ weight + bias, new), alpha=1e-9)
    torch.testing.assert_close(method.weight, weight, atol=1e-4, rtol=0)
    torch.testing.assert_close(method.bias, bias, atol=1e-4, rtol=0)


def test_affine_of_a_rank_recovers_a_map_of_that_rank_and_not_of_a_higher_one():
    new = normal(60, 6)
    pairs = paired(new @ (normal(6, 2, seed=1) @ normal(2, 5, seed=2)) + 3, new)
    assert error(solved(Affine, pairs, alpha=1e-9, rank=2), pairs) < 1e-8
    assert error(solved(Affine, pairs, alpha=1e-9, rank=1), pairs) > 0.05


@NEW_OLD
def test_query_drift_finds_a_constant_drift_again(new_dim, old_dim):
    """Where the new space is larger its further dimensions do not matter, where it is smaller they are zeros."""
    drift, shared = normal(old_dim, seed=1), min(new_dim, old_dim)
    new = normal(40, new_dim) + 2
    pairs = paired(torch.from_numpy(padded(new[:, :shared], old_dim)).float() - drift, new)
    method = solved(QueryDrift, pairs)
    torch.testing.assert_close(method.drift, drift, atol=1e-5, rtol=0)
    assert error(method, pairs) < 1e-10
    assert error(made(QueryDrift, pairs), pairs) > 0.1


def test_query_drift_is_the_mean_of_the_differences_by_hand():
    pairs = paired(torch.tensor([[0.0, 0.0], [2.0, 1.0]]), torch.tensor([[1.0, 3.0], [5.0, 0.0]]))
    assert solved(QueryDrift, pairs).drift.tolist() == [2.0, 1.0]


def test_diagonal_scaling_equals_numpy_s_least_squares_in_each_dimension():
    adapted, old = normal(30, 5), normal(30, 5, seed=1)
    adapted[:, 2] = 0
    columns = zip(adapted.double().numpy().T, old.double().numpy().T, strict=True)
    expected = [np.linalg.lstsq(a[:, None], o, rcond=None)[0][0] if a.any() else 1.0 for a, o in columns]
    np.testing.assert_allclose(diagonal_scaling(adapted, old).numpy(), expected, atol=1e-12)


def test_procrustes_with_scaling_recovers_a_planted_rotation_and_scaling():
    """Of new embeddings without correlations, whose rotation the scaling does not hide."""
    new, factors = 6 * torch.linalg.qr(normal(36, 5)).Q, torch.tensor([0.2, 0.5, 1.0, 2.0, 3.0])
    pairs = paired(new @ rotation(5) * factors, new)
    method = solved(Procrustes, pairs, center=False, scale=True)
    torch.testing.assert_close(method.factors, factors, atol=1e-5, rtol=0)
    assert error(method, pairs) < 1e-10
    assert error(solved(Procrustes, pairs, center=False), pairs) > 0.1


@pytest.mark.parametrize("center", [True, False])
def test_scaling_never_makes_the_error_of_an_adapter_larger(center):
    pairs = paired(normal(40, 4, seed=1) + 1, normal(40, 6))
    for kind, options in ((Procrustes, {"center": center}), (Affine, {"rank": 2}), (Affine, {"alpha": 0.3})):
        assert error(solved(kind, pairs, scale=True, **options), pairs) < error(solved(kind, pairs, **options), pairs)


def test_scaling_says_nothing_new_after_least_squares():
    new = normal(40, 6) - 1
    pairs = paired(normal(40, 4, seed=1) + 1, new)
    expected, found = (solved(Affine, pairs, alpha=1e-12, scale=scale) for scale in (False, True))
    torch.testing.assert_close(found.weight, expected.weight, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.bias, expected.bias, atol=1e-5, rtol=0)


def turned_by(start, end, alpha):
    """Row by row: u turned towards v, in their plane, by a share of their angle."""
    rows = []
    for u, v in zip(start.double().numpy(), end.double().numpy(), strict=True):
        angle = alpha * math.acos(u @ v)
        side = v - (u @ v) * u
        rows.append(math.cos(angle) * u + math.sin(angle) * side / np.linalg.norm(side))
    return torch.from_numpy(np.stack(rows)).float()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_slerp_equals_a_rotation_in_the_plane_of_the_two(alpha):
    start, end = F.normalize(normal(9, 5), dim=1), F.normalize(normal(9, 5, seed=1), dim=1)
    torch.testing.assert_close(slerp(start, end, alpha), turned_by(start, end, alpha), atol=1e-5, rtol=0)
    torch.testing.assert_close(slerp(start, start, alpha), start, atol=1e-5, rtol=0)


def test_slerp_of_a_larger_space_needs_no_padding():
    old, end = F.normalize(normal(9, 3), dim=1), F.normalize(normal(9, 5, seed=1), dim=1)
    start = torch.from_numpy(padded(old, 5)).float()
    torch.testing.assert_close(slerp(old, end[:, :3], 0.3), turned_by(start, end, 0.3)[:, :3], atol=1e-5, rtol=0)


def test_slerp_goes_from_the_old_query_to_procrustes():
    pairs = paired(normal(40, 4), normal(40, 6, seed=1))
    unit = paired(*(F.normalize(rows, dim=1) for rows in pairs[:2]))
    ends = unit.old, solved(Procrustes, unit, center=False).back(unit.old, unit.new)
    for alpha, expected in zip((0.0, 1.0), ends, strict=True):
        method = solved(Slerp, pairs, alpha=alpha)
        torch.testing.assert_close(method.back(*pairs[:2]), expected, atol=1e-4, rtol=0)
        assert method.query(*pairs[:2])[1] is pairs.new
        assert method.encoder_passes == 2


def test_slerp_chooses_the_query_that_finds_more():
    """Classes lie on the axes; noise is in the one space, in the other, or in both: then the middle is best."""
    axes = torch.eye(8)[torch.arange(200) % 4]
    for noise, least, most in (((1.5, 0.1), 0.6, 1.0), ((0.1, 1.5), 0.0, 0.4), ((0.7, 0.7), 0.2, 0.9)):
        old, new = (axes + factor * normal(200, 8, seed=n) for n, factor in enumerate(noise))
        found = solved(Slerp, paired(old, new @ rotation(8)))
        assert least <= round(found.alpha.item(), 1) <= most
        torch.testing.assert_close(found.rotation @ found.rotation.T, torch.eye(8), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.1}, "alpha: 1.1, expected 0 to 1"),
        ({"held_out": 1.0}, "held_out: 1.0, expected more than 0 and less than 1"),
    ],
)
def test_numbers_out_of_range_are_named(options, message):
    with pytest.raises(InputError, match=message):
        Slerp(*embedders(), **options)


def test_too_few_held_out_pairs_to_choose_by_are_named():
    pairs = paired(normal(8, 3), normal(8, 5))
    with pytest.raises(InputError, match=r"held_out: 0.2, expected two images of a class among the 2"):
        solved(Slerp, pairs._replace(label=torch.arange(8)))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Procrustes, {}),
        (Procrustes, {"scale": True}),
        (Affine, {}),
        (Affine, {"rank": 2}),
        (ResidualMLP, {"hidden": 8}),
        (QueryDrift, {}),
        (KernelQuery, {"centres": 8}),
    ],
)
def test_only_the_query_for_the_old_part_is_adapted(kind, options):
    pairs = paired(normal(20, 3), normal(20, 5, seed=1))
    method = solved(kind, pairs, **options)
    query_old, query_new = method.query(torch.full_like(pairs.old, torch.nan), pairs.new)
    assert query_old.shape == pairs.old.shape
    assert torch.isfinite(query_old).all()
    assert query_new is pairs.new
    assert method.gallery(pairs.old, pairs.new) == (pairs.old, pairs.new)
    assert method.encoder_passes == 1
    assert not method.transforms_gallery


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Procrustes, {"scale": True}),
        (Affine, {"rank": 2, "scale": True}),
        (ResidualMLP, {"hidden": 8}),
        (LambdaOrthogonality, {"bound": None}),
        (QueryDrift, {}),
        (Slerp, {}),
        (KernelQuery, {"centres": 8}),
        (KernelQuery, {"centres": 99}),
    ],
)
def test_heads_are_enough_to_serve(kind, options):
    pairs = paired(normal(32, 3), normal(32, 5, seed=1))
    first, second = solved(kind, pairs, **options), made(kind, pairs, **options).eval()
    if kind is LambdaOrthogonality:
        trained(first, pairs, epochs=1)
    second.load_state_dict(first.heads(), strict=False)
    for mine, other in zip(first.query(*pairs[:2]), second.query(*pairs[:2]), strict=True):
        assert torch.equal(mine, other)


def test_the_residual_network_starts_at_ridge_and_learns_what_is_not_linear():
    new = normal(256, 4)
    pairs = paired((new @ rotation(4))[:, :3].abs(), new)
    method = solved(ResidualMLP, pairs, hidden=64)
    torch.testing.assert_close(method.back(pairs.old, new), solved(Affine, pairs).back(pairs.old, new))
    start = error(method, pairs)
    assert method.terms(pairs)["error"].item() == pytest.approx(start)
    assert error(trained(method, pairs), pairs) < 0.2 * start


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
