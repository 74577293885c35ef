"""Kernel ridge regression between two spaces: against its dual form, planted maps, and both directions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from compat.errors import InputError
from compat.methods import KernelGallery, KernelQuery, kernel
from compat.methods.kernel import KernelMap, median_gamma
from tests.helpers.pairs import embedders, normal, paired


def unit(rows):
    return F.normalize(rows.double(), dim=1)


def near(a, b, gamma):
    """Row by row."""
    return np.array([[np.exp(-gamma * ((x - y) ** 2).sum()) for y in b.numpy()] for x in a.numpy()])


@pytest.mark.parametrize("rows", [7, 12])
def test_median_gamma_equals_loops(rows):
    x = normal(rows, 4).double().numpy()
    apart = sorted(np.linalg.norm(x[i] - x[j]) for i in range(rows) for j in range(i))
    middle = apart[(len(apart) - 1) // 2]  # torch's, the lower one
    assert median_gamma(x) == pytest.approx(1 / (2 * middle**2))
    assert median_gamma(np.ones((5, 3))) == 1.0


def test_median_gamma_looks_at_some_of_many_rows():
    x = normal(40, 3).double().numpy()
    assert median_gamma(x, most=10) == pytest.approx(median_gamma(x[::4]))


@pytest.mark.parametrize("alpha", [1e-3, 1.0])
def test_with_all_centres_it_equals_the_dual_form(alpha, monkeypatch):
    """mean y + (k(x) - means)(H K H + a I)^-1 (y - mean y): with an intercept, H centres the kernel."""
    monkeypatch.setattr(kernel, "ALPHAS", [alpha])
    inputs, outputs, others = normal(20, 4), normal(20, 3, seed=1), normal(6, 4, seed=2)
    method = KernelMap(4, 3, 20, 0.7)
    method.solve(inputs, outputs)
    x, y = unit(inputs), unit(outputs).numpy()
    k, k_others = near(x, x, 0.7), near(unit(others), x, 0.7)
    h = np.eye(20) - 1 / 20
    centred = (k_others - k.mean(0)) @ h
    expected = y.mean(0) + centred @ np.linalg.solve(h @ k @ h + alpha * np.eye(20), y - y.mean(0))
    np.testing.assert_allclose(method(others).numpy(), expected, atol=1e-5)


def smooth(rows):
    """Unit vectors: sums of six bumps on the sphere, and what is left of the length."""
    centres = F.normalize(normal(6, rows.shape[1], seed=5), dim=1)
    bumps = (-torch.cdist(F.normalize(rows, dim=1), centres).square()).exp() @ normal(6, 4, seed=6) / 10
    return torch.cat([bumps, (1 - bumps.square().sum(1, keepdim=True)).sqrt()], 1)


def test_a_planted_smooth_map_is_learned_and_holds_for_other_rows():
    rows = normal(600, 3)
    shown, others = rows[:400], rows[400:]
    method = KernelMap(3, 5, 256, None)
    method.solve(shown, smooth(shown))
    expected = smooth(others)
    off = (method(others) - expected).square().sum(1).mean().item()
    linear = torch.linalg.lstsq(F.pad(unit(shown), (0, 1), value=1), unit(smooth(shown))).solution
    straight = F.pad(unit(others), (0, 1), value=1) @ linear - expected
    assert off < 1e-6 * expected.var(0).sum().item()
    assert off < 1e-4 * straight.square().sum(1).mean().item()


def test_noise_gets_a_larger_penalty_than_a_function():
    """Regressed on noise it stays near the mean, as leaving pairs out tells."""
    inputs, noise = normal(300, 3), normal(300, 5, seed=1)
    method = KernelMap(3, 5, 100, None)
    method.solve(inputs, noise)
    mean = unit(noise).mean(0)
    assert (method(normal(50, 3, seed=2)) - mean).norm(dim=1).mean() < 0.3


def test_with_fewer_pairs_than_centres_the_others_count_for_nothing():
    inputs, outputs = normal(10, 4), normal(10, 3, seed=1)
    few, many = KernelMap(4, 3, 10, 0.5), KernelMap(4, 3, None, 0.5)
    few.solve(inputs, outputs)
    many.solve(inputs, outputs)
    torch.testing.assert_close(few(inputs), many(inputs))
    assert len(many.centres) == 512


@pytest.mark.parametrize("kind", [KernelQuery, KernelGallery])
def test_more_centres_than_pairs_are_refused(kind):
    pairs, method = paired(normal(10, 3), normal(10, 5, seed=1)), kind(*embedders(), centres=11)
    for refused in (lambda: method.check(10, [0]), lambda: method.solve(pairs)):
        with pytest.raises(
            InputError, match=r"^centres: 11, expected at most 10, as there are so many training images$"
        ):
            refused()
    method.check(11, [0])


def test_a_planted_smooth_map_of_the_old_gallery_is_learned():
    rows = normal(600, 3)
    pairs = paired(rows[:400], smooth(rows[:400]))
    method = KernelGallery(*embedders(), centres=256)
    method.solve(pairs)
    assert (method.gallery(rows[400:], pairs.new)[0] - smooth(rows[400:])).abs().max() < 1e-3


def test_lengths_do_not_matter():
    inputs, outputs, factors = normal(30, 4), normal(30, 3, seed=1), torch.arange(1, 31)[:, None]
    first, second = KernelMap(4, 3, 16, None), KernelMap(4, 3, 16, None)
    first.solve(inputs, outputs)
    second.solve(inputs * factors, outputs / factors)
    torch.testing.assert_close(first(inputs), second(inputs * 7))


@pytest.mark.parametrize("centres", [8, None])
def test_the_gallery_is_brought_forward_and_nothing_else_and_restored(centres):
    pairs = paired(normal(32, 3), normal(32, 5, seed=1))
    method, other = (KernelGallery(*embedders(), centres=centres) for _ in range(2))
    method.solve(pairs)
    other.restore(method.heads())
    query_old, query_new = method.query(torch.full_like(pairs.old, torch.nan), pairs.new)
    assert query_old is query_new is pairs.new
    gallery_old, gallery_new = method.gallery(pairs.old, torch.full_like(pairs.new, torch.nan))
    assert gallery_old.shape == (32, 5)
    assert gallery_old.dtype == torch.float32
    assert torch.equal(gallery_old, method.map(pairs.old))
    assert torch.equal(gallery_old, other.gallery(*pairs[:2])[0])
    assert gallery_new.isnan().all()
    assert method.transforms_gallery
    assert not KernelQuery.transforms_gallery
