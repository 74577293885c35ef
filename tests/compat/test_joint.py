"""The methods that train the new model for compatibility: each loss against plain loops, training, and serving."""

import math

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from compat.data import Sample
from compat.errors import InputError
from compat.losses import arcface_logits
from compat.methods import (
    BCT,
    BT2,
    LCE,
    NCCL,
    OCA,
    RACT,
    AdvBCT,
    DSimplex,
    MixBCT,
    SingleModel,
    Teacher,
    UniBCT,
    mixbct,
)  # fmt: skip
from compat.models import FinalNorm, load_embedder, simplex
from tests.helpers.backbones import TinyConv
from tests.helpers.joint_loops import KNOWN, OPTIONS, closest, cut, diffused, expected_terms, normal, prepared, unit
from tests.helpers.pairs import IMAGES, LABELS, embedders

METHODS = (BCT, RACT, UniBCT, AdvBCT, MixBCT, OCA, BT2, DSimplex, LCE, NCCL)
DIMS = pytest.mark.parametrize(("old_dim", "new_dim"), [(3, 5), (4, 4), (5, 3)])
FROM_TEACHER = {"old_space", "labels", "means", "radii", "lowest", "may_mix", "target", "vertices"} | {
    "old_weight", "old_bias", "targets"
}  # fmt: skip


@DIMS
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in METHODS if kind is not MixBCT),
        (BCT, {"normalize": True, "weight": 0.3}),
        (BCT, {"classes": "old"}),
        (BCT, {"classes": "old", "normalize": True}),
        (UniBCT, {"prototype_scale": 30.0, "prototype_margin": 0.3}),
        (AdvBCT, {"radius_quantile": 0.7}),
        (AdvBCT, {"final_norm": True}),
        (OCA, {"unit_means": True}),
        (BT2, {"unit_means": True}),
        (DSimplex, {"weight": 0.9}),
        (RACT, {"weight": 0.5, "temperature": 0.2, "negatives": 3}),
        (MixBCT, {"share": 1.0}),
        (LCE, {"transform": True}),
        (NCCL, {"weight": 0.5, "logit_weight": 2.0, "temperature": 0.2}),
        (NCCL, {"logit_weight": 2.0, "logit_scale": 8.0}),
    ],
)
def test_terms_are_those_of_the_formula(kind, options, old_dim, new_dim):
    method, teacher = prepared(kind, old_dim, new_dim, **options)
    if kind is AdvBCT:
        assert -1 <= method.elastic.min() < 0 < method.elastic.max() <= 1
    rows = (7 * torch.arange(10) + 2) % 24  # of all classes
    (new,) = normal((10, method.new.project.out_features))
    batch = new, teacher.old[rows], LABELS[rows], rows
    found = {name: value.item() for name, value in method.train().terms(*batch).items()}
    assert found == pytest.approx(expected_terms(method, teacher, *batch), rel=1e-4, abs=1e-6)


@DIMS
@pytest.mark.parametrize("kind", METHODS)
def test_queries_and_items_have_the_dimensions_of_their_spaces(kind, old_dim, new_dim):
    method, teacher = prepared(kind, old_dim, new_dim)
    with torch.no_grad():
        new = method.eval().new(IMAGES)
        query, gallery = method.query(teacher.old * torch.nan, new), method.gallery(teacher.old, new)
    served = {OCA: old_dim + 2, BT2: new_dim + 2}.get(kind, new_dim)
    assert (query[0].shape, query[1].shape) == ((24, old_dim), (24, served))
    assert torch.equal(query[1], gallery[1])
    assert torch.equal(gallery[0], teacher.old)
    expected = unit(new) if kind is LCE else query[1]
    torch.testing.assert_close(query[0], cut(expected, old_dim))
    assert method.encoder_passes == 1


@pytest.mark.parametrize("kind", METHODS)
def test_training_changes_a_copy_of_the_new_model_and_its_heads_are_enough_to_serve(kind):
    method, teacher = prepared(kind)
    old, new = embedders()
    fresh = kind(old, new, **OPTIONS.get(kind, {}))
    before = {key: value.clone() for key, value in method.state_dict().items()}
    method.train().trainer = None
    samples = [Sample(*row) for row in zip(IMAGES, LABELS, torch.arange(24), strict=True)]
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(method, DataLoader(samples, batch_size=8, shuffle=True))  # type: ignore[arg-type]
    assert math.isfinite(trainer.callback_metrics["train/loss"])
    for key, value in method.state_dict().items():
        if key.startswith(("old.", "new.backbone.")):
            assert torch.equal(before[key], value) is key.startswith("old."), key
    assert all(parameter.grad is None for parameter in method.old.parameters())
    assert method.new.training
    assert not method.old.training

    heads = method.heads()
    assert not any(key.startswith("old.") or key in FROM_TEACHER for key in heads)
    load_embedder(fresh.new, {key[4:]: value for key, value in heads.items() if key.startswith("new.")}, "here")
    fresh.load_state_dict(heads, strict=False)
    with torch.no_grad():
        queries = [each.query(teacher.old, each.new(IMAGES)) for each in (method.eval(), fresh.eval())]
    torch.testing.assert_close(*queries)


@pytest.mark.parametrize("kind", METHODS)
def test_the_given_new_model_stays_as_it_is(kind):
    old, new = embedders()
    old.classify(4)
    before = {key: value.clone() for key, value in new.state_dict().items()}
    method = kind(old, new, **OPTIONS.get(kind, {}))
    for parameter in method.new.parameters():
        nn.init.zeros_(parameter)
    assert all(parameter.requires_grad for parameter in (*new.parameters(), *method.new.parameters()))
    assert not any(parameter.requires_grad for parameter in old.parameters())
    assert new.classifier is None
    torch.testing.assert_close(dict(new.state_dict()), before, rtol=0, atol=0)


@pytest.mark.parametrize(("step", "strength"), [(0, 0.0), (5, 2 / (1 + math.exp(-2.5)) - 1)])
def test_the_new_model_gets_the_reversed_gradient_of_the_discriminator(step, strength):
    method, teacher = prepared(AdvBCT)
    method.trainer.global_step = step
    new = normal((24, 5))[0].requires_grad_()
    parameters = [new, *method.discriminator.parameters()]
    found = method.terms(new, teacher.old, LABELS, torch.arange(24))["adversarial"]
    verdicts = (method.discriminator(rows) for rows in (method.norm(new)[:, :3], teacher.old))
    told = [F.cross_entropy(rows, torch.full((24,), n)) for n, rows in enumerate(verdicts)]
    straight = 4 / 6 * (told[0] + told[1])
    reversed_one, *own = torch.autograd.grad(found, parameters)
    straight_one, *expected = torch.autograd.grad(straight, parameters)
    torch.testing.assert_close(reversed_one, -strength * straight_one)
    torch.testing.assert_close(own, expected)


def test_three_of_ten_embeddings_give_way_to_credible_old_ones(monkeypatch):
    method, teacher = prepared(MixBCT)
    seen = []

    def spy(mixed, *arguments):
        seen.append(mixed)
        return arcface_logits(mixed, *arguments)

    monkeypatch.setattr(mixbct, "arcface_logits", spy)
    rows = torch.arange(10)
    for _ in range(20):
        method.terms(normal((10, 5))[0], teacher.old[rows], LABELS[rows], rows)
    old = torch.stack([torch.isclose(mixed, unit(teacher.old[rows])).all(1) for mixed in seen])
    assert old.sum(1).tolist() == [3] * 20
    assert torch.equal(old.any(0), closest(unit(teacher.old), LABELS, 0.9)[rows])


def test_prototypes_are_refined_at_a_third_and_at_two_thirds_with_the_embeddings_seen_last():
    method, teacher = prepared(UniBCT)
    (new,) = normal((24, 5))
    changed = []
    for epoch in range(6):
        before, method.trainer.current_epoch = method.prototypes.clone(), epoch
        method.on_train_epoch_start()
        changed.append(not torch.equal(before, method.prototypes))
        terms = method.terms((epoch + 1) * new.roll(epoch, 0), teacher.old, LABELS, torch.arange(24))
        assert ("prototypes" in terms) is (epoch >= 2)
    assert changed == [False, False, True, False, True, False]
    for c in range(4):
        seen = unit(new.roll(3, 0)[c == LABELS])
        expected = diffused(teacher.old[c == LABELS], seen, 0.9, 0.05)
        torch.testing.assert_close(method.prototypes[c], expected, rtol=1e-4, atol=1e-5)


def test_orthogonal_layers_stay_so():
    for kind, names in ((OCA, ["rotation"]), (BT2, ["inner", "outer"])):
        method, teacher = prepared(kind)
        (new,) = normal((24, method.new.project.out_features))
        sum(method.terms(new, teacher.old, LABELS, torch.arange(24)).values()).backward()
        torch.optim.SGD([p for p in method.parameters() if p.grad is not None], lr=0.1).step()
        for name in names:
            weight = getattr(method, name).weight
            torch.testing.assert_close(weight @ weight.T, torch.eye(len(weight)), atol=1e-5, rtol=0)


def test_bct_needs_the_old_classifier_and_a_simplex_enough_dimensions():
    old, new = embedders(3, 2)
    spaces, recipe = normal((24, 3), (24, 2)), SingleModel(TinyConv(), 2)
    teacher = Teacher(spaces[0], spaces[1], LABELS, KNOWN)
    with pytest.raises(InputError, match=r"old.checkpoint: weights without a classifier, expected one, as BCT needs"):
        BCT(old, new).prepare(recipe, teacher)
    with pytest.raises(InputError, match=r"new.model.embed_dim: 2 for 4 classes, expected at least 3"):
        DSimplex(old, new).prepare(recipe, teacher)
    old.classify(2)
    nothing_known = teacher._replace(known=torch.full((4,), -1))
    with pytest.raises(
        InputError, match=r"classes: old, but the old model has seen none of the new one's, expected all"
    ):
        BCT(old, new, classes="old").prepare(recipe, nothing_known)


def test_a_batch_of_classes_that_the_old_model_has_not_seen_has_no_influence():
    method, teacher = prepared(BCT, classes="old")
    rows = torch.tensor([1, 3, 5])
    terms = method.terms(normal((3, 5))[0].requires_grad_(), teacher.old[rows], LABELS[rows], rows)
    assert terms["influence"].item() == 0
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_a_simplex_that_the_old_model_shares_gives_each_class_its_vertex():
    old, new = embedders(5, 5)
    spaces, recipe = normal((24, 5), (24, 5)), SingleModel(TinyConv(), 5)
    teacher = Teacher(spaces[0], spaces[1], LABELS, KNOWN)
    old.classify(2)
    with pytest.raises(InputError, match=r"old.model.simplex: false, expected true"):
        DSimplex(old, new, shared=True).prepare(recipe, teacher)
    assert old.classifier is not None
    old.classifier.fix(simplex(5)[:2])
    method = DSimplex(old, new, shared=True, weight=0.0)
    method.prepare(recipe, teacher)
    torch.testing.assert_close(method.vertices, simplex(5)[[1, 2, 0, 3]])
    (rows,) = normal((6, 5))
    own = method.terms(rows, rows, torch.tensor([2, 0] * 3), torch.arange(6))["classification"]
    olds = F.cross_entropy(torch.cat([old.classifier(rows), rows @ simplex(5)[2:4].T], 1), torch.tensor([0, 1] * 3))
    torch.testing.assert_close(own, olds)
    old, new = embedders(3, 5)
    old.classify(2)
    with pytest.raises(InputError, match=r"new.model.embed_dim: 5, expected the old model's 3"):
        DSimplex(old, new, shared=True).prepare(recipe, teacher)


@pytest.mark.parametrize("kind", METHODS)
def test_a_final_norm_serves_all_methods_and_its_weight_does_not_learn(kind):
    method, teacher = prepared(kind, final_norm=True)
    assert isinstance(method.new.norm, FinalNorm)
    assert method.new.norm.num_features == method.new.project.out_features
    assert kind is not AdvBCT or isinstance(method.norm, nn.Identity)
    new = method.train().new(IMAGES)
    torch.testing.assert_close(new.mean(0), torch.zeros(new.shape[1]), atol=1e-5, rtol=0)
    sum(method.terms(new, teacher.old, LABELS, torch.arange(24)).values()).backward()
    learning = [name for name, p in method.new.norm.named_parameters() if p.grad is not None]
    assert learning == ["bias"]
    assert method.new.norm.weight.tolist() == [1.0] * new.shape[1]
