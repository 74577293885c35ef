"""Adapters from the new space to the old one: closed forms against numpy, scipy and scikit-learn, planted maps."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge

from compat import Embeddings
from compat.errors import InputError
from compat.methods import (
    Affine,
    KernelQuery,
    LambdaOrthogonality,
    Procrustes,
    QueryDrift,
    ResidualMLP,
    Slerp,
)
from compat.methods.affine import low_rank, ridge
from compat.methods.procrustes import procrustes
from compat.methods.scaling import diagonal_scaling
from compat.methods.slerp import slerp
from compat.system import serve
from tests.helpers.pairs import LABELS, error, made, normal, padded, paired, rotation, solved, trained

NEW_OLD = pytest.mark.parametrize(("new_dim", "old_dim"), [(7, 4), (5, 5), (4, 7)])


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


def cut_to(rank, matrix):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] @ np.diag(s[:rank]) @ v[:rank]


@NEW_OLD
@pytest.mark.parametrize("rank", [1, 3, 4])
@pytest.mark.parametrize("alpha", [1e-9, 0.3])
def test_low_rank_is_the_least_squares_map_of_its_rank(new_dim, old_dim, rank, alpha):
    """In coordinates in which the penalised covariance is the identity, the nearest matrix is that of Eckart, Young."""
    new, old = normal(30, new_dim) @ normal(new_dim, new_dim, seed=2) + 3, normal(30, old_dim, seed=1) - 2
    x, y = (rows.double().numpy() - rows.double().numpy().mean(0) for rows in (new, old))
    penalty = alpha * (x**2).sum() / new_dim
    root = np.linalg.cholesky(x.T @ x + penalty * np.eye(new_dim))
    expected = np.linalg.solve(root.T, cut_to(rank, np.linalg.solve(root, x.T @ y)))
    weight, _ = ridge(new, old, alpha)
    found = low_rank(weight, new, old, rank).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.linalg.matrix_rank(found, tol=1e-6) == rank

    def objective(matrix):
        return ((y - x @ matrix) ** 2).sum() + penalty * (matrix**2).sum()

    truncated, full = cut_to(rank, weight.numpy()), weight.numpy()
    assert objective(full) - 1e-9 <= objective(found) <= objective(truncated) + 1e-9
    if rank == min(new_dim, old_dim):
        np.testing.assert_allclose(found, full, atol=1e-9)
    else:
        assert objective(found) < objective(truncated) - 1e-3


@pytest.mark.parametrize("rank", [None, 2])
def test_affine_leaves_residuals_without_a_mean(rank):
    pairs = paired(normal(40, 4, seed=1) + 5, normal(40, 6) - 3)
    found = solved(Affine, pairs, rank=rank).query_for_old(pairs.old, pairs.new)
    torch.testing.assert_close(found.mean(0), pairs.old.mean(0))


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
def test_query_drift_finds_a_constant_drift_of_directions_again(new_dim, old_dim):
    """The last shared coordinate changes its sign; lengths, and dimensions of one space alone, do not count."""
    shared = 0.8 * F.normalize(normal(40, min(new_dim, old_dim) - 1), dim=1)
    lengths = normal(2, 40, 1, seed=1).exp()
    ends = (torch.cat([shared, torch.full((40, 1), last)], 1) for last in (-0.6, 0.6))
    unit = [torch.from_numpy(padded(end, dim)).float() for end, dim in zip(ends, (old_dim, new_dim), strict=True)]
    pairs = paired(*(length * rows for length, rows in zip(lengths, unit, strict=True)))
    found, drift = solved(QueryDrift, pairs).query(*pairs[:2])[0], torch.zeros(old_dim)
    drift[min(new_dim, old_dim) - 1] = 1.2
    torch.testing.assert_close(solved(QueryDrift, pairs).drift, drift, atol=1e-6, rtol=0)
    torch.testing.assert_close(found, unit[0], atol=1e-6, rtol=0)
    assert not torch.allclose(made(QueryDrift, pairs).query(*pairs[:2])[0], unit[0], atol=0.1)


def test_query_drift_is_the_mean_of_the_differences_of_unit_vectors_by_hand():
    pairs = paired(torch.tensor([[0.0, 2.0], [5.0, 0.0]]), torch.tensor([[3.0, 4.0], [7.0, 0.0]]))
    method = solved(QueryDrift, pairs)
    torch.testing.assert_close(method.drift, torch.tensor([0.3, -0.1]))
    for scale in (1.0, 10.0):
        query_old, query_new = method.query(pairs.old, scale * pairs.new)
        torch.testing.assert_close(query_old, torch.tensor([[0.3, 0.9], [0.7, 0.1]]))
        torch.testing.assert_close(query_new, torch.tensor([[0.6, 0.8], [1.0, 0.0]]))
        assert torch.equal(method.gallery(pairs.old, scale * pairs.new)[1], query_new)


def test_query_drifts_of_a_sequence_are_summed():
    one, two, three = (normal(20, 4, seed=seed) + 1 for seed in range(3))
    first, second = solved(QueryDrift, paired(one, two)), solved(QueryDrift, paired(two, three))
    plain = [Embeddings(new, new, old, new, LABELS[:20], LABELS[:20]) for old, new in ((one, two), (two, three))]
    found = serve(second, plain[1], (first, plain[0]))
    torch.testing.assert_close(found.query_old, F.normalize(three, dim=1) - (first.drift + second.drift))


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
    for kind, options in (
        (Procrustes, {"center": center}),
        (Affine, {"alpha": 0.3, "rank": 2}),
        (Affine, {"alpha": 0.3}),
    ):
        assert error(solved(kind, pairs, scale=True, **options), pairs) < error(solved(kind, pairs, **options), pairs)


@pytest.mark.parametrize("rank", [None, 2])
def test_scaling_says_nothing_new_after_least_squares(rank):
    new = normal(40, 6) - 1
    pairs = paired(normal(40, 4, seed=1) + 1, new)
    expected, found = (solved(Affine, pairs, alpha=1e-12, rank=rank, scale=scale) for scale in (False, True))
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
    ends = unit.old, solved(Procrustes, unit, center=False).query_for_old(unit.old, unit.new)
    for alpha, expected in zip((0.0, 1.0), ends, strict=True):
        method = solved(Slerp, pairs, alpha=alpha)
        torch.testing.assert_close(method.query_for_old(*pairs[:2]), expected, atol=1e-4, rtol=0)
        assert method.query(*pairs[:2])[1] is pairs.new
        assert method.encoder_passes == 2


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("new_dim", [4, 6])
def test_slerp_recovers_a_planted_rotation(new_dim, alpha):
    """The aligned new query is the old one, and so is all that lies between them."""
    old, turn = F.normalize(normal(40, 4), dim=1), rotation(new_dim)
    new = torch.from_numpy(padded(old, new_dim)).float() @ turn.T
    method = solved(Slerp, paired(3 * old, 2 * new), alpha=alpha)
    torch.testing.assert_close(method.rotation, turn[:, :4], atol=1e-5, rtol=0)
    torch.testing.assert_close(method.query_for_old(3 * old, 2 * new), old, atol=1e-4, rtol=0)


def test_slerp_chooses_the_query_that_finds_more():
    """Classes lie on the axes; noise is in the one space, in the other, or in both: then the middle is best."""
    axes = torch.eye(8)[torch.arange(200) % 4]
    for noise, least, most in (((1.5, 0.1), 0.6, 1.0), ((0.1, 1.5), 0.0, 0.4), ((0.7, 0.7), 0.2, 0.9)):
        old, new = (axes + factor * normal(200, 8, seed=n) for n, factor in enumerate(noise))
        found = solved(Slerp, paired(old, new @ rotation(8)))
        assert least <= round(found.alpha.item(), 1) <= most
        torch.testing.assert_close(found.rotation @ found.rotation.T, torch.eye(8), atol=1e-5, rtol=0)


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
        (KernelQuery, {}),
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
    torch.testing.assert_close(
        method.query_for_old(pairs.old, new), solved(Affine, pairs).query_for_old(pairs.old, new)
    )
    start = error(method, pairs)
    assert method.terms(pairs)["error"].item() == pytest.approx(start)
    assert error(trained(method, pairs), pairs) < 0.2 * start
