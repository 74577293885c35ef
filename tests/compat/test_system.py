"""From the plain four matrices to those that a method serves."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from compat import Embeddings, backfill_curve, backfill_order, serve
from compat.methods import FCT, ForwardContrast, LambdaOrthogonality, Pair, Procrustes, ReverseQuery, Upgrade
from compat.methods.upgrade import ROWS, through
from compat.models import Precomputed
from tests import ROOT

MATRICES = ("query_old", "query_new", "gallery_old", "gallery_new")
KINDS = [
    (Upgrade, {}),
    (Procrustes, {}),
    (ReverseQuery, {"hidden": 8, "rho": True, "mcl": "joint"}),
    (FCT, {"hidden": 8}),
    (FCT, {"hidden": 8, "side": 2}),
    (LambdaOrthogonality, {"hidden": 8}),
    (ForwardContrast, {"hidden": 8}),
]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rotation(seed: int, dim: int = 6) -> Tensor:
    return torch.linalg.qr(normal(dim, dim, seed=seed)).Q


def plain(queries: int, items: int, side: int = 0) -> Embeddings:
    shapes = ((queries, 3 + side), (queries, 5), (items, 3 + side), (items, 5))
    first, second, third, fourth = (normal(*shape, seed=seed) for seed, shape in enumerate(shapes))
    labels, rows = (torch.arange(queries) % 7, torch.arange(items) % 7), (torch.arange(queries), torch.arange(items))
    return Embeddings(first, second, third, fourth, labels[0], labels[1], rows[0], rows[1])


def made(kind, options):
    torch.manual_seed(0)
    return kind(Precomputed(3), Precomputed(5), **options).eval()


def turned(old: Tensor, new: Tensor) -> Procrustes:
    """The map between two spaces of which one is a rotation of the other."""
    method = Procrustes(Precomputed(old.shape[1]), Precomputed(new.shape[1]), center=False)
    method.solve(Pair(old, new, torch.arange(len(old))))
    return method.eval()


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_each_part_is_the_method_s_own_to_the_bit_in_runs_of_rows(kind, options):
    method, raw = made(kind, options), plain(7, ROWS + 9, options.get("side", 0))
    found = serve(method, raw)
    with torch.inference_mode():
        query = method.query(raw.query_old, raw.query_new)
        runs = [slice(0, ROWS), slice(ROWS, ROWS + 9)]
        parts = [method.gallery(raw.gallery_old[run], raw.gallery_new[run]) for run in runs]
    gallery = [torch.cat(rows) for rows in zip(*parts, strict=True)]
    for name, expected in zip(MATRICES, (*query, *gallery), strict=True):
        assert torch.equal(getattr(found, name), expected), name


@pytest.mark.parametrize(("kind", "options"), KINDS[3:5], ids=str)
def test_a_transformed_gallery_is_nothing_of_the_old_model_s(kind, options):
    method, raw = made(kind, options), plain(7, 20, options.get("side", 0))
    found = serve(method, raw)
    assert found.gallery_old.shape == (20, 5)
    assert torch.equal(found.query_old, raw.query_new)


def test_labels_and_groups_stay():
    raw = plain(7, 20)
    found = serve(made(ReverseQuery, {"hidden": 8}), raw)
    for name in ("query_labels", "gallery_labels", "query_groups", "gallery_groups"):
        assert torch.equal(getattr(found, name), getattr(raw, name)), name


def test_no_graph_of_gradients_is_kept():
    method, raw = made(ReverseQuery, {"hidden": 8}), plain(7, 20)
    assert method.query(raw.query_old, raw.query_new)[0].requires_grad
    assert not through(method.query, raw.query_old, raw.query_new)[0].requires_grad


def test_the_query_goes_back_through_both_upgrades_to_a_gallery_that_neither_has_reached():
    """Three generations, each a rotation of the one before: seen from the oldest, nothing ever changed."""
    oldest, first, second = normal(40, 6, seed=0), rotation(1), rotation(2)
    middle, newest = oldest @ first, oldest @ first @ second
    upgrades = turned(oldest, middle), turned(middle, newest)
    labels = torch.arange(40) % 5
    earlier = Embeddings(oldest[:10], middle[:10], oldest, middle, labels[:10], labels)
    later = Embeddings(middle[:10], newest[:10], middle, newest, labels[:10], labels)
    stale = serve(upgrades[1], later, (upgrades[0], earlier))
    torch.testing.assert_close(stale.query_old, oldest[:10])
    assert torch.equal(stale.gallery_old, oldest)
    assert torch.equal(stale.query_new, newest[:10])
    assert torch.equal(stale.gallery_new, newest)
    reached = serve(upgrades[1], later)
    torch.testing.assert_close(reached.query_old, middle[:10])
    assert torch.equal(reached.gallery_old, middle)


def test_a_gallery_that_is_transformed_goes_forward_through_the_first_and_then_through_the_second():
    torch.manual_seed(0)
    first = FCT(Precomputed(3), Precomputed(5), hidden=8).eval()
    second = FCT(Precomputed(5), Precomputed(4), hidden=8).eval()
    old, middle, newest = (normal(20, dim, seed=dim) for dim in (3, 5, 4))
    labels = torch.arange(20) % 5
    earlier, later = (Embeddings(a, b, a, b, labels, labels) for a, b in ((old, middle), (middle, newest)))
    found = serve(second, later, (first, earlier))
    with torch.inference_mode():
        assert torch.equal(found.gallery_old, second.transform(first.transform(old)))
    assert torch.equal(found.query_old, newest)


def examples(section: str) -> list[str]:
    """The code of a section of docs/embeddings.md."""
    text = (ROOT / "docs/embeddings.md").read_text().split(f"## {section}")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def planted_rotation() -> dict[str, Any]:
    """The names that the examples use; the new space is the old one turned."""
    labels = np.arange(60) % 6
    old = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32) + 3 * np.eye(6, dtype=np.float32)[labels]
    new = old @ rotation(3).numpy()
    return {
        **{"query_old": old[:12], "query_new": new[:12], "gallery_old": old[12:36], "gallery_new": new[12:36]},
        **{"query_labels": labels[:12], "gallery_labels": labels[12:36]},
        **{"train_old": torch.tensor(old[36:]), "train_new": torch.tensor(new[36:])},
        **{"train_labels": torch.tensor(labels[36:]), "old_dim": 6, "new_dim": 6},
    }


@pytest.mark.filterwarnings("ignore")  # Lightning's
def test_the_example_of_a_head_without_labels_runs_and_finds_more_than_by_chance():
    scope = planted_rotation()
    exec("".join([*examples("In Python"), *examples("A head without labels")]), scope)
    assert not scope["head"].training
    untrained = serve(FCT(Precomputed(6), Precomputed(6), hidden=512).eval(), scope["embeddings"])
    order = backfill_order(24, seed=0)
    assert scope["curve"].mean_ap[0] > backfill_curve(untrained, order).mean_ap[0] + 0.1


def test_the_examples_run_and_find_a_planted_rotation():
    """The new space is the old one turned: mapped back, queries find in the old gallery what old queries find."""
    blocks = examples("In Python")
    assert "serve(" in blocks[-1]
    scope = planted_rotation()
    exec("".join(blocks), scope)
    order = backfill_order(24, seed=0)
    own = backfill_curve(scope["embeddings"], order).mean_ap[0]
    unsolved = serve(Procrustes(Precomputed(6), Precomputed(6)), scope["embeddings"])
    assert backfill_curve(unsolved, order).mean_ap[0] < own - 0.1
    np.testing.assert_allclose(scope["curve"].mean_ap, own, atol=1e-9)
