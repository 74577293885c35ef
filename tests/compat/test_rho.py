"""The labelled head on one model alone."""

import pytest
import torch

from compat.batch import Pair
from compat.errors import InputError
from compat.losses import metric_compatible_loss
from compat.methods import Rho, RhoBoth, RhoOld
from compat.models import Precomputed
from compat.needs import Given

KINDS = (Rho, RhoBoth, RhoOld)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def made(kind, **options):
    torch.manual_seed(0)
    return kind(Precomputed(3), Precomputed(5), hidden=8, **options).eval()


PAIRS = Pair(normal(8, 3), normal(8, 5, seed=1), torch.arange(8) % 3)


@pytest.mark.parametrize("kind", KINDS)
def test_each_starts_at_the_identity_with_the_supervised_contrast_of_its_model_alone(kind):
    method = made(kind, temperature=0.3, k_neg=2)
    old, new = method.gallery(PAIRS.old, PAIRS.new)
    assert torch.equal(old, PAIRS.old)
    assert torch.equal(new, PAIRS.old if kind is RhoOld else PAIRS.new)
    shown = {Rho: [PAIRS.new], RhoBoth: [PAIRS.new, PAIRS.old], RhoOld: [PAIRS.old]}[kind]
    for term, rows in zip(method.terms(PAIRS).values(), shown, strict=True):
        alone = metric_compatible_loss(
            normal(8, 3, seed=7), normal(8, 3, seed=8), rows, PAIRS.label, mode="new_only", temperature=0.3, k_neg=2
        )
        assert term.item() == pytest.approx(alone.item())


@pytest.mark.parametrize("kind", KINDS)
def test_queries_and_items_are_served_alike(kind):
    method = made(kind)
    for head in (module for name, module in method.named_children() if name.startswith("rho")):
        torch.nn.init.normal_(head.residual[-1].weight)
    served = method.gallery(PAIRS.old, PAIRS.new)
    for query, item in zip(method.query(PAIRS.old, PAIRS.new), served, strict=True):
        assert torch.equal(query, item)
    assert torch.equal(method.query_for_old(PAIRS.old, served[1]), served[0])
    assert torch.equal(served[0], PAIRS.old) is (kind is Rho)


def test_both_heads_are_those_of_each_model_alone():
    both, new = made(RhoBoth), made(Rho)
    assert {name: rows for name, rows in both.heads().items() if name.startswith("rho.")}.keys() == new.heads().keys()
    assert all(torch.equal(rows, both.heads()[name]) for name, rows in new.heads().items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_class_is_refused(kind):
    method = made(kind)
    values = {"training embeddings": PAIRS, "training labels": torch.zeros(8)}
    with pytest.raises(InputError, match="data: training images of a single class, expected at least 2"):
        method.learn(Given(method.needs, values, kind.__name__), fit=lambda module: None)
