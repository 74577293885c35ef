"""What pretrained backbones need: a normalisation between the two losses, and a learning rate of their own."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from compat.data import Sample
from compat.methods import BCT, SingleModel
from compat.optim import warmup_cosine, with_rate
from tests.helpers.backbones import TinyConv
from tests.helpers.joint_loops import entropy, mean, prepared, unit
from tests.helpers.pairs import IMAGES, LABELS

BATCH = Sample(IMAGES, LABELS, torch.arange(len(LABELS)))


def triplets(rows, labels, margin):
    """Of each row, its farthest positive and its nearest negative."""
    losses = []
    for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
        apart = [float((row - other).square().sum().sqrt()) for other in rows]
        positives = [d for j, d in enumerate(apart) if j != i and labels[j] == label]
        negatives = [d for j, d in enumerate(apart) if labels[j] != label]
        losses.append(max(margin + max(positives) - min(negatives), 0.0))
    return mean(losses)


def quiet(module):
    module.log = module.log_dict = lambda *_, **__: None
    return module.train()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("final_norm", [False, True])
def test_with_a_final_norm_triplets_compare_what_goes_into_it(final_norm, normalize):
    torch.manual_seed(0)
    model = SingleModel(TinyConv(), 5, normalize=normalize, triplet_margin=0.3, final_norm=final_norm)
    model.materialize(IMAGES[0])
    model.classify(int(LABELS.max()) + 1)
    embedder = quiet(model).embedder
    with torch.no_grad():
        before = embedder.project(embedder.backbone(IMAGES))
        after = (before - before.mean(0)) / (before.var(0, correction=0) + 1e-5).sqrt() if final_norm else before
        after = unit(after) if normalize else after
        classes = unit(embedder.classifier.linear.weight) if normalize else embedder.classifier.linear.weight
        logits = 16 * after @ classes.T if normalize else after @ classes.T + embedder.classifier.linear.bias
        compared = before if final_norm else after
        expected = entropy(logits, LABELS, 0) + triplets(compared, LABELS, 0.3)
        loss = model.training_step(BATCH, 0)
    torch.testing.assert_close(float(loss), float(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("final_norm", [False, True])
def test_joint_methods_have_the_same_neck(final_norm):
    method = quiet(prepared(BCT, final_norm=final_norm)[0])
    with torch.no_grad():
        plain = float(method.training_step(BATCH, 0))
        method.recipe = method.recipe._replace(triplet_margin=0.3)
        rows = method.new.project(method.new.backbone(IMAGES))
        both = float(method.training_step(BATCH, 0))
    assert both - plain == pytest.approx(float(triplets(rows, LABELS, 0.3)), rel=1e-3)


@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_a_backbone_learns_at_its_own_rate(rate):
    """One step of plain gradient descent moves the backbone by `rate` times as much."""
    network = nn.ModuleDict({"backbone": nn.Linear(3, 2), "head": nn.Linear(2, 2)})
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = with_rate(partial(torch.optim.SGD, lr=0.5), network.parameters(), network["backbone"], rate)
    network["head"](network["backbone"](torch.ones(1, 3))).square().sum().backward()
    optimizer.step()
    for name, parameter in network.named_parameters():
        step = 0.5 * (rate if name.startswith("backbone") else 1)
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.detach(), before[name] - step * parameter.grad)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


def test_the_schedule_keeps_the_ratio_of_the_rates():
    network = nn.ModuleDict({"backbone": nn.Linear(3, 2), "head": nn.Linear(2, 2)})
    optimizer = with_rate(partial(torch.optim.SGD, lr=0.5), network.parameters(), network["backbone"], 0.1)
    configured: Any = warmup_cosine(optimizer, 10, 0.3)
    schedule = configured["lr_scheduler"]["scheduler"]
    seen = []
    for _ in range(9):
        head, backbone = (group["lr"] for group in optimizer.param_groups)
        assert backbone == pytest.approx(0.1 * head)
        seen.append(head)
        optimizer.step()
        schedule.step()
    assert max(seen) == pytest.approx(0.5)


@pytest.mark.parametrize("rate", [1.0, 0.2])
def test_models_and_joint_methods_hand_the_rate_on(rate):
    model = SingleModel(TinyConv(), 5, backbone_rate=rate, optimizer=partial(torch.optim.SGD, lr=0.5))
    model.materialize(IMAGES[0])
    model.classify(4)
    method, _ = prepared(BCT)
    method.recipe = method.recipe._replace(backbone_rate=rate, optimizer=model.optimizer)
    modules: list[Any] = [(model, model.embedder), (method, method.new)]
    for module, embedder in modules:
        module.trainer = SimpleNamespace(estimated_stepping_batches=20)
        groups = module.configure_optimizers()["optimizer"].param_groups
        peaks = {id(parameter): group["max_lr"] for group in groups for parameter in group["params"]}
        backbone = {id(parameter) for parameter in embedder.backbone.parameters()}
        assert {peaks[key] for key in backbone} == {0.5 * rate}
        assert {peaks[key] for key in peaks.keys() - backbone} == {0.5}
