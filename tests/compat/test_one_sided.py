"""Batches of a single class and of different ones alone: every loss is finite, and 0 where nothing is to compare."""

import inspect
from types import SimpleNamespace

import pytest
import torch

from compat import methods
from compat.batch import Pair
from compat.losses import alignment_loss, arcface_logits, batch_hard_triplet_loss, metric_compatible_loss
from compat.methods import Joint, Learned
from compat.methods.advbct import point_to_set_loss
from compat.methods.dmu import discriminativeness
from compat.methods.dsimplex import higher_order_loss
from compat.methods.fastfill import uncertainty_loss
from compat.methods.fct import forward_loss
from compat.methods.lce import boundary_loss
from compat.methods.nccl import neighbourhood_loss
from compat.methods.oca import cosine_to_means
from compat.methods.orthogonality import orthogonality_penalty
from compat.methods.ract import regression_alleviating_loss
from compat.methods.unibct import refined_prototype
from tests.helpers.joint_loops import prepared
from tests.helpers.pairs import IMAGES, LABELS, embedders, normal

KINDS = {
    name: kind
    for name, kind in inspect.getmembers(methods, inspect.isclass)
    if issubclass(kind, (Joint, Learned)) and kind not in (Joint, Learned)
}
SHARP = {"temperature": 0.01}
OPTIONS: dict[str, list[dict]] = {
    "ReverseQuery": [
        {"hidden": 8, **SHARP},
        *(
            {"hidden": 8, "rho": True, "mcl": mode, **SHARP}
            for mode in ("old_only", "new_only", "independent", "joint")
        ),
        {"hidden": 8, "mcl": "joint", "reduction": "inside", "k_pos": 1, "k_neg": 99, **SHARP},
        {"hidden": 8, "mcl": "joint", "self_positive": False, **SHARP},
    ],
    "BCT": [{}, {"classes": "old"}],
    "RACT": [SHARP],
    "NCCL": [SHARP, {"queue": 2, **SHARP}],
    "DMU": [{"hidden": 8, **SHARP}],
    "ForwardContrast": [{"hidden": 8, **SHARP}],
    **{name: [{"hidden": 8, **SHARP}] for name in ("Rho", "RhoBoth", "RhoOld")},
    "UniBCT": [SHARP, {"prototype_scale": 100.0}],
    "LambdaOrthogonality": [{"hidden": 8, **SHARP}, {"hidden": 8, "bound": None}],
    "DSimplex": [{"weight": weight} for weight in (0.0, 0.9)],
    "LCE": [{"transform": transform} for transform in (False, True)],
    **{name: [{"hidden": 8}] for name in ("FCT", "FastFill", "BiCT", "ResidualMLP")},
}
BATCHES = {"one class": torch.arange(0, 24, 4), "different classes": torch.arange(4)}  # rows of 24 images of 4 classes
CASES = [(name, options) for name in KINDS for options in OPTIONS.get(name, [{}])]


def joint(kind, options, rows):
    """The terms of a batch of images, and what learns by them."""
    method, teacher = prepared(kind, **options)
    new = normal(len(rows), method.new.project.out_features).requires_grad_()
    return method, lambda: method.terms(new, teacher.old[rows], LABELS[rows], rows), new


def learned(kind, options, rows):
    """The terms of a batch of pairs, and what learns by them."""
    old, new = embedders()
    new.classify(4)
    method = kind(old, new, **options)
    with torch.no_grad():
        pairs = Pair(old(IMAGES[rows]), new(IMAGES[rows]), LABELS[rows])
    return method, lambda: method.terms(pairs), torch.zeros(1, requires_grad=True)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(CASES)])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_all_terms_and_their_gradients_are_finite(name, options, batch, half):
    kind, rows = KINDS[name], BATCHES[batch]
    method, terms, new = (joint if issubclass(kind, Joint) else learned)(kind, options, rows)
    method.train()
    enabled = half and not issubclass(kind, Joint)  # whose training step switches it off for the terms
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        loss = sum(terms().values())
    parameters = [new, *(p for p in method.parameters() if p.requires_grad)]
    assert torch.isfinite(loss)
    gradients = [g for g in torch.autograd.grad(loss, parameters, allow_unused=True) if g is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if issubclass(kind, Joint)])
def test_a_training_step_under_autocast_has_a_finite_loss(name, batch):
    """With the triplet loss of the recipe, through the network."""
    method, _ = prepared(KINDS[name], **OPTIONS.get(name, [{}])[0])
    method.recipe = method.recipe._replace(triplet_margin=0.3)
    method.log = method.log_dict = lambda *_, **__: None
    rows = BATCHES[batch]
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.train().training_step(SimpleNamespace(image=IMAGES[rows], label=LABELS[rows], group=rows), 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def own_class(y):
    return y[:, None] == y


LOSSES = {
    "forward": lambda a, b, y: forward_loss(a, b, True).mean(),
    "uncertainty": lambda a, b, y: uncertainty_loss(forward_loss(a, b, False), a[:, 0]),
    "orthogonality": lambda a, b, y: orthogonality_penalty(a[:, :4], 0.5),
    "point to set": lambda a, b, y: point_to_set_loss(a, y, b, torch.full((4,), 0.1)),
    "boundary": lambda a, b, y: boundary_loss(a, b, torch.full((4,), 0.9), y),
    "cosine to means": lambda a, b, y: cosine_to_means(a, b, y),
    "neighbourhood": lambda a, b, y: neighbourhood_loss(a @ b.T, own_class(y), b @ b.T, 0.01),
    "discriminativeness": lambda a, b, y: discriminativeness(a, b, y, 0.01).mean(),
    "prototype": lambda a, b, y: refined_prototype(a, b / b.norm(dim=1, keepdim=True), 0.9, 0.01).sum(),
    "ArcFace": lambda a, b, y: arcface_logits(a, b, y, 100.0, 0.5).logsumexp(1).mean(),
}


@pytest.mark.parametrize("labels", [[2, 2, 2, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("name", LOSSES)
def test_those_of_a_single_method_are_finite_and_so_are_their_gradients(name, labels):
    """Of rows that are random, and of rows that are all equal, bfloat16 values under autocast."""
    for random in (normal(2, 4, 8), torch.ones(2, 4, 8)):
        a, b = (rows.bfloat16().float().requires_grad_() for rows in random)
        with torch.autocast("cpu", torch.bfloat16, enabled=name != "prototype"):  # refined outside of it, in an epoch
            loss = LOSSES[name](a, b, torch.tensor(labels))
        gradients = torch.autograd.grad(loss, (a, b), allow_unused=True)
        assert torch.isfinite(loss)
        assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)


def test_where_nothing_is_to_compare_a_loss_is_zero_or_as_its_docstring_says():
    a, b = normal(2, 4, 3)
    one, different = torch.zeros(4, dtype=torch.long), torch.arange(4)
    for y in (one, different):
        assert batch_hard_triplet_loss(a, y).item() == 0
        assert alignment_loss(a, a).item() == 0
    assert metric_compatible_loss(a, b, a, one).item() == 0
    assert metric_compatible_loss(a, b, a, different, self_positive=False).item() == 0
    assert regression_alleviating_loss(a, b, one).item() == 0
    cosine = torch.nn.functional.cosine_similarity(a, b).mean().item()
    assert higher_order_loss(a, b, one, 1.0).item() == pytest.approx(torch.tensor(4.0).log().item() - cosine)
    assert point_to_set_loss(a, one, b, torch.zeros(4)).item() == 0
