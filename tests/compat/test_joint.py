"""The methods that train the new model for compatibility: each loss against plain loops over its formula."""

import math
from types import SimpleNamespace

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
    DMU,
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
)
from compat.methods.advbct import class_radii, elastic_radii, point_to_set_loss
from compat.methods.bct import extended_classifier
from compat.methods.dmu import discriminativeness
from compat.methods.dsimplex import higher_order_loss, simplex, turned
from compat.methods.lce import boundary_loss
from compat.methods.mixbct import credible
from compat.methods.nccl import neighbourhood_loss
from compat.methods.oca import cosine_to_means
from compat.methods.ract import regression_alleviating_loss
from compat.methods.unibct import refined_prototype
from compat.models import load_embedder
from tests.backbones import TinyConv
from tests.pairs import IMAGES, LABELS, embedders

METHODS = (BCT, RACT, UniBCT, AdvBCT, MixBCT, OCA, BT2, DSimplex, LCE, NCCL)
OPTIONS: dict[type, dict] = {OCA: {"extra": 2}, BT2: {"extra": 2}}
KNOWN = torch.tensor([1, -1, 0, -1])
DIMS = pytest.mark.parametrize(("old_dim", "new_dim"), [(3, 5), (4, 4), (5, 3)])
FROM_TEACHER = {"old_space", "labels", "means", "radii", "lowest", "may_mix", "target", "vertices", "old_weight"}


def prepared(kind, old_dim=3, new_dim=5, normalize=False, **options):
    old, new = embedders(old_dim, new_dim)
    old.normalize = normalize
    old.classify(2)
    method = kind(old, new, **{**OPTIONS.get(kind, {}), **options})
    with torch.no_grad():
        teacher = Teacher(old(IMAGES), new(IMAGES), LABELS, KNOWN)
    method.prepare(SingleModel(TinyConv(), new_dim, label_smoothing=0.1), teacher)
    method.trainer = SimpleNamespace(max_epochs=6, current_epoch=3, global_step=2, estimated_stepping_batches=20)
    return method, teacher


def normal(*shapes, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=random) for shape in shapes]


def unit(rows):
    return torch.stack([row / row.norm() for row in rows])


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


def mean(values):
    return float(sum(values) / len(values))


def class_means(rows, labels):
    return torch.stack([sum(rows[labels == c]) / (labels == c).sum() for c in range(4)])


def cut(rows, dim):
    return torch.stack([torch.tensor([*row.tolist(), *[0.0] * dim][:dim], dtype=row.dtype) for row in rows])


def entropy(logits, labels, smoothing=0.1):
    surprise = [row.exp().sum().log() - row for row in logits.double()]
    return mean([(1 - smoothing) * row[y] + smoothing * row.mean() for row, y in zip(surprise, labels, strict=True)])


def arcface(rows, weight, labels, scale, margin):
    logits = torch.tensor([[scale * cosine(row, of_class) for of_class in weight] for row in rows])
    for row, y in zip(logits, labels, strict=True):
        angle = math.acos(row[y] / scale)
        over = angle + margin > math.pi
        row[y] = scale * (math.cos(angle) - margin * math.sin(margin) if over else math.cos(angle + margin))
    return logits


def through(layers, rows, fresh=False):
    """Linear layers, PReLU, ReLU and batch normalisation, as it is at first in training or, if fresh, in evaluation."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            rows = rows @ layer.weight.T + (0 if layer.bias is None else layer.bias)
        elif isinstance(layer, nn.BatchNorm1d):
            shift, spread = (0.0, torch.ones(1)) if fresh else (rows.mean(0), rows.var(0, correction=0))
            rows = (rows - shift) / (spread + layer.eps).sqrt()
        else:
            rows = torch.where(rows > 0, rows, rows * getattr(layer, "weight", 0.0))
    return rows


def extended(weight, bias, means):
    length = mean([row.norm() for row in weight])
    rows = [weight[k] if k >= 0 else length * means[c] / means[c].norm() for c, k in enumerate(KNOWN)]
    return torch.stack(rows), torch.stack([bias[k] if k >= 0 else bias.mean() for k in KNOWN])


def contrast(z, o, y, temperature, negatives):
    losses = []
    for i in range(len(y)):
        groups = [[cosine(z[i], space[j]) for j in range(len(y)) if y[j] != y[i]] for space in (o, z)]
        hardest = [value for group in groups for value in sorted(group, reverse=True)[:negatives]]
        losses.append(entropy(torch.tensor([[cosine(z[i], o[i]), *hardest]]) / temperature, [0], 0))
    return mean(losses)


def diffused(old, new, share, temperature):
    """V <- (1 - a) V_o + a S V until it stays."""
    size, found = range(len(old)), old
    similar = torch.tensor([[math.exp(new[i] @ new[j] / temperature) if i != j else 0.0 for j in size] for i in size])
    for _ in range(300):
        found = (1 - share) * old + share * torch.stack([row / row.sum() @ found for row in similar])
    return found.mean(0)


def radii_of(old, labels, means):
    radii = []
    for c in range(len(means)):
        far = sorted(float((row - means[c]).norm()) for row in old[labels == c])
        places = [share * (len(far) - 1) for share in (0.25, 0.75)]
        low, high = (far[int(p)] + p % 1 * (far[math.ceil(p)] - far[int(p)]) for p in places)
        radii.append(max(x for x in far if x <= high + 1.5 * (high - low)) if len(far) > 1 else 0.0)
    return torch.tensor(radii)


def elastic(radii, weight, threshold):
    moved = [abs(r - threshold) / (1 + math.exp(-w)) for r, w in zip(radii, weight, strict=True)]
    return torch.tensor([r + m if r < threshold else r - m for r, m in zip(radii, moved, strict=True)])


def point_to_set(z, y, means, radii):
    beyond = [float((row / row.norm() - means[c]).norm() - radii[c]) for row, c in zip(z, y, strict=True) if radii[c]]
    return mean([x for x in beyond if x > 0] or [0.0])


def closest(old, labels, share):
    kept = [False] * len(old)
    for c, middle in enumerate(class_means(old, labels)):
        ranked = sorted((float((old[i] - middle).norm()), i) for i in range(len(old)) if labels[i] == c)
        for _, i in ranked[: max(int(share * len(ranked)), 1)]:
            kept[i] = True
    return torch.tensor(kept)


def higher_order(z, o, y, scale=10.0):
    losses = []
    for i in range(len(y)):
        others = sum(math.exp(scale * cosine(o[i], z[j]) if y[j] != y[i] else 0.0) for j in range(len(y)))
        losses.append(math.log(others) - scale * cosine(o[i], z[i]))
    return mean(losses)


def drawn_to(similar, same, weights, temperature):
    """Anchor by anchor and positive by positive."""
    losses = []
    for row, own, weight in zip(similar / temperature, same, weights, strict=True):
        surprise = [weight[j] * (row.exp().sum().log() - row[j]) for j in range(len(row)) if own[j]]
        losses.append(mean(surprise))
    return mean(losses)


def told_by_means(o, means, y, temperature):
    """Of each old embedding, how surely."""
    shares = [torch.tensor([cosine(row, mu) / temperature for mu in means]).exp() for row in o]
    return torch.stack([share[k] / share.sum() for share, k in zip(shares, y, strict=True)])


def from_own(z, y, means):
    return mean([1 - cosine(row, means[c]) for row, c in zip(z, y, strict=True)])


def outside(z, y, means, lowest):
    return mean([max(float(lowest[c]) - cosine(row, means[c]), 0.0) for row, c in zip(z, y, strict=True)])


@torch.no_grad()
def expected_terms(method, teacher, z, o, y, rows):
    """The terms of each method's loss in its defaults, at the start of the fourth of six epochs."""
    kind = type(method)
    dim, old, weight = teacher.old.shape[1], teacher.old, method.classifier.linear.weight
    z = through([method.norm], z) if kind is AdvBCT else z
    c, means, unit_means = cut(z, dim), class_means(old, LABELS), class_means(unit(old), LABELS)
    plain = {"classification": entropy(through([method.classifier.linear], z), y)}
    if kind is BCT:
        layer, scale = method.old.classifier.linear, method.old.classifier.scale
        heads, bias = extended(layer.weight, torch.zeros(2) if scale else layer.bias, means)
        logits = scale * unit(c) @ unit(heads).T if scale else c @ heads.T + bias
        return {**plain, "influence": method.weight * entropy(logits, y)}
    if kind is RACT:
        return {**plain, "contrast": method.weight * contrast(c, o, y, method.temperature, method.negatives)}
    if kind is UniBCT:
        logits = arcface(z, weight, y, 64, 0.5)
        return {"classification": entropy(logits, y), "prototypes": entropy(unit(c) @ unit_means.T, y)}
    if kind is AdvBCT:
        radii = elastic(radii_of(unit(old), LABELS, unit_means), method.elastic, method.threshold)
        verdict = through(method.discriminator, unit([*c, *o]))
        adversarial = 3 / 6 * entropy(verdict, [0] * len(y) + [1] * len(y), 0)
        return {**plain, "point_to_set": point_to_set(c, y, unit_means, radii), "adversarial": adversarial}
    if kind is MixBCT:
        mixed = torch.where(closest(unit(old), LABELS, 0.9)[rows][:, None], o, c)
        return {"classification": entropy(arcface(mixed, cut(weight, dim), y, 64, 0.5), y)}
    if kind is OCA:
        logits = 16 * (unit(z) @ method.rotation.weight.T) @ unit(weight).T
        prototypes, alignment = entropy(unit(c) @ means.T, y), from_own(c, y, means)
        return {"classification": 5 * entropy(logits, y), "prototypes": 10 * prototypes, "alignment": 5 * alignment}
    if kind is BT2:
        h, f = unit(z[:, : method.dim]), unit(through([nn.ReLU(), method.more], z)[:, :2])
        e = torch.cat([f, 2 * h @ method.inner.weight.T], 1)[:, :dim] @ method.outer.weight.T
        return {
            "classification": entropy(through([method.head], h), y),
            "new": mean([1 - cosine(a, b) for a, b in zip(h, teacher.new[rows], strict=True)]),
            "old": 5 * mean([1 - cosine(a, b) for a, b in zip(e, o, strict=True)]),
            "prototypes": 10 * entropy(unit(e) @ means.T, y),
        }
    if kind is NCCL:
        queue, heads = unit(old), unit(cut(weight, dim))
        same, weights = y[:, None] == LABELS, (1 + unit(o) @ queue.T) / 2
        logits = torch.stack([torch.stack([(heads @ a) @ (heads @ b) for b in queue]) for a in unit(c)])
        pairs = [method.weights[0] * drawn_to(unit(c) @ queue.T, same, weights, method.temperature)]
        pairs += [method.weights[1] * drawn_to(logits, same, weights, method.temperature)]
        return {**plain, "embeddings": pairs[0], "logits": pairs[1]}
    if kind is DSimplex:
        vertices = turned(simplex(z.shape[1])[:4], cut(means, z.shape[1]))
        return {"classification": 0.1 * entropy(z @ vertices.T, y), "alignment": 0.9 * higher_order(c, o, y)}

    def backward(vectors, fresh=False):
        start = cut(unit(vectors), dim)
        return start + sum(through(path, start, fresh) for path in getattr(method.backward_transform, "paths", ()))

    lowest = [min(cosine(row, unit_means[k]) for row in old[k == LABELS]) for k in range(4)]
    off = [(a - b).square().mean() for a, b in zip(unit(backward(weight, fresh=True)), unit(unit_means), strict=True)]
    boundary = outside(backward(z), y, unit_means, lowest)
    classification = entropy(arcface(z, weight, y, 16, 0.1), y)
    return {"classification": classification, "alignment": 100 * mean(off), "boundary": boundary}


@DIMS
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in METHODS if kind is not MixBCT),
        (BCT, {"normalize": True, "weight": 0.3}),
        (RACT, {"weight": 0.5, "temperature": 0.2, "negatives": 3}),
        (MixBCT, {"share": 1.0}),
        (LCE, {"transform": True}),
        (NCCL, {"weight": 0.5, "logit_weight": 2.0, "temperature": 0.2}),
    ],
)
def test_terms_are_those_of_the_formula(kind, options, old_dim, new_dim):
    method, teacher = prepared(kind, old_dim, new_dim, **options)
    if kind is AdvBCT:
        nn.init.normal_(method.elastic)
    rows = torch.arange(23, 3, -2)
    (new,) = normal((10, method.new.project.out_features))
    batch = new, teacher.old[rows], LABELS[rows], rows
    found = {name: value.item() for name, value in method.train().terms(*batch).items()}
    assert found == pytest.approx(expected_terms(method, teacher, *batch), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_pure_functions_equal_loops(seed):
    z, o, mu, weight, bounds, w, b = normal((12, 3), (12, 3), (4, 3), 4, 4, (2, 3), 2, seed=seed)
    y, radii = torch.randperm(12) % 4, bounds.abs()
    rows, bias = extended_classifier(w, b, Teacher(o, z, y, KNOWN))
    expected_rows, expected_bias = extended(w, b, class_means(o, y))
    for found, expected in [
        (rows, expected_rows),
        (bias, expected_bias),
        (arcface_logits(z, mu, y, 20.0, 0.8), arcface(z, mu, y, 20.0, 0.8)),
        (regression_alleviating_loss(z, o, y, 0.1, 4), contrast(z, o, y, 0.1, 4)),
        (regression_alleviating_loss(z, o, y, 0.1, 99), contrast(z, o, y, 0.1, 99)),
        (refined_prototype(unit(o), unit(z), 0.8, 0.1), diffused(unit(o), unit(z), 0.8, 0.1)),
        (class_radii(o, y, mu), radii_of(o, y, mu)),
        (elastic_radii(radii, weight, 0.6), elastic(radii, weight, 0.6)),
        (point_to_set_loss(z, y, mu, radii), point_to_set(z, y, mu, radii)),
        (credible(o, y, 0.7), closest(o, y, 0.7)),
        (cosine_to_means(z, mu, y), from_own(z, y, mu)),
        (higher_order_loss(z, o, y, 3.0), higher_order(z, o, y, 3.0)),
        (
            neighbourhood_loss(z @ o.T, y[:, None] == y, (o @ o.T).abs(), 0.5),
            drawn_to(z @ o.T, y[:, None] == y, (o @ o.T).abs(), 0.5),
        ),
        (discriminativeness(o, mu, y, 0.3), told_by_means(o, mu, y, 0.3)),
        (boundary_loss(z, mu, bounds, y), outside(z, y, mu, bounds)),
    ]:
        torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-4, atol=1e-5)


def test_turned_is_the_best_of_all_turns_and_reflections():
    vertices, (means,) = simplex(2), normal((3, 2))
    turns = [(math.cos(i / 500), math.sin(i / 500)) for i in range(3142)]
    every = [vertices @ torch.tensor([[c, m * s], [-s, m * c]]) for c, s in turns for m in (1, -1)]
    best = max(sum(map(cosine, rows, means)) for rows in every)
    assert sum(map(cosine, turned(vertices, means), means)) == pytest.approx(best, abs=1e-5)


def test_pure_functions_by_hand():
    """On the axes of a plane, on a line, and for the diffusion at angles of 0, 30 and 70 degrees, whose nearest
    neighbours are 30, 0 and 30: v = (o_0 + v_1, o_1 + v_0, o_2 + v_1) / 2."""
    axes, two, line = torch.eye(2), torch.tensor([0, 1]), torch.tensor([[1.0], [2], [3], [4], [100], [5]])
    five, point = torch.tensor([0, 0, 0, 0, 0, 1]), torch.tensor([[3.0, 4.0]] * 3)
    teacher = Teacher(torch.tensor([[0.0, 3.0], [0.0, 9.0], [5.0, 0.0]]), axes, torch.tensor([0, 0, 1]), two - 1)
    rows, bias = extended_classifier(torch.tensor([[2.0, 0.0]]), torch.tensor([7.0]), teacher)
    angles = torch.tensor([0.0, 30.0, 70.0]).deg2rad()
    space, third = torch.stack([angles.cos(), angles.sin()], 1), torch.tensor([0, 1, 2])
    far = torch.tensor([1, 2, 3, 4, 6.5, 1, 2, 3, 4, 7.5, 5])[:, None]
    means, radii = torch.tensor([[0.6, 0.0], [0.6, 0.8], [0.0, 0.0]]), torch.tensor([0.3, 0.1, 0.0])
    for found, expected in [
        (rows, [[0.0, 2.0], [2.0, 0.0]]),
        (bias, [7.0, 7.0]),
        (arcface_logits(axes, axes, two, 2.0, math.pi / 3), [[1.0, 0.0], [0.0, 1.0]]),
        (arcface_logits(axes[:1], -axes, two[:1], 2.0, 0.5), [[-2 - math.sin(0.5), 0.0]]),
        (regression_alleviating_loss(axes, axes, two, 1.0), math.log(1 + 2 / math.e)),
        (refined_prototype(torch.tensor([[0.0], [3], [3]]), space, 0.5, 0.001), [(1 + 2 + 2.5) / 3]),
        (refined_prototype(line[:1], space[:1]), [1.0]),
        (class_radii(far, torch.tensor([0] * 5 + [1] * 5 + [2]), torch.zeros(3, 1)), [6.5, 4.0, 0.0]),
        (elastic_radii(torch.tensor([0.5, 1.5]), torch.zeros(2)), [0.75, 1.25]),
        (point_to_set_loss(point, third, means, radii), 0.5),
        (point_to_set_loss(point[:1], third[1:2], means, radii), 0.0),
        (credible(line, five, 0.8), [True, True, True, True, False, True]),
        (cosine_to_means(axes, axes, torch.tensor([0, 0])), 0.5),
        (simplex(1), [[1.0], [-1.0]]),
        (turned(simplex(1), torch.tensor([[-3.0], [1.0]])), [[-1.0], [1.0]]),
        (higher_order_loss(axes, axes, two, 1.0), math.log(2) - 1),
        (boundary_loss(axes, axes, torch.tensor([0.2, 0.5]), torch.tensor([0, 0])), 0.1),
    ]:
        torch.testing.assert_close(found, torch.as_tensor(expected))


@pytest.mark.parametrize("dim", [2, 5, 30])
def test_vertices_are_unit_vectors_equally_far_apart(dim):
    vertices = simplex(dim)
    expected = torch.full((dim + 1, dim + 1), -1 / dim).fill_diagonal_(1.0)
    torch.testing.assert_close(vertices @ vertices.T, expected, atol=1e-5, rtol=0)


def test_a_turned_simplex_and_unchanged_spaces_are_found_again():
    turn, old = torch.linalg.qr(normal((5, 5))[0]).Q, unit(normal((12, 5), seed=1)[0])
    torch.testing.assert_close(turned(simplex(5), 3 * simplex(5) @ turn), simplex(5) @ turn, atol=1e-5, rtol=0)
    labels = torch.arange(12) % 4
    means = Teacher(old, old, labels, KNOWN).means()
    lowest = torch.tensor([min(cosine(row, means[c]) for row in old[labels == c]) for c in range(4)])
    for loss, least in [
        (lambda new: higher_order_loss(new, old, labels), None),
        (lambda new: regression_alleviating_loss(new, old, labels), None),
        (lambda new: cosine_to_means(new, means, labels), None),
        (lambda new: boundary_loss(new, means, lowest, labels), 0.0),
        (lambda new: point_to_set_loss(new, labels, means, class_radii(old, labels, means)), 0.0),
    ]:
        assert loss(old) < loss(old @ turn)
        assert least is None or loss(old).item() == pytest.approx(least, abs=1e-6)
    even = refined_prototype(old[:4], old[:1].expand(4, -1))
    torch.testing.assert_close(even, old[:4].mean(0), atol=1e-5, rtol=1e-4)


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
    verdict = method.discriminator(F.normalize(torch.cat([method.norm(new)[:, :3], teacher.old])))
    straight = 3 / 6 * F.cross_entropy(verdict, torch.arange(48) // 24)
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
        expected = diffused(unit(teacher.old[c == LABELS]), seen, 0.9, 0.05)
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


def test_nccl_contrasts_with_its_own_images_and_others_where_there_are_more_than_the_queue():
    method, teacher = prepared(NCCL, queue=10)
    rows = torch.arange(0, 24, 4)
    shown = method.shown(rows)
    assert torch.equal(shown[:6], rows)
    assert len(shown) == 10
    assert not torch.equal(method.shown(rows)[6:], shown[6:])
    assert torch.equal(prepared(NCCL, queue=3)[0].shown(rows), rows)
    assert torch.equal(prepared(NCCL, queue=24)[0].shown(rows), torch.arange(24))
    (new,) = normal((6, 5))
    terms = method.terms(new, teacher.old[rows], LABELS[rows], rows)
    assert all(value.isfinite() for value in terms.values())


def test_nccl_s_loss_falls_towards_a_neighbourhood_in_the_old_space():
    """It is less among the own class than among another; by hand, with one positive of weight 1/2."""
    old = unit(torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.1, 1.0], [-0.1, 1.0]]))
    labels = torch.tensor([0, 0, 1, 1])
    same, weights = labels[:, None] == labels, (1 + old @ old.T) / 2
    losses = [neighbourhood_loss(new @ old.T, same, weights, 0.2).item() for new in (old, old.flip(0))]
    assert losses[0] < losses[1]
    by_hand = neighbourhood_loss(torch.zeros(1, 2), torch.tensor([[True, False]]), torch.tensor([[0.5, 1.0]]))
    assert by_hand.item() == pytest.approx(0.5 * math.log(2))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (NCCL, {"temperature": 0.0}, "temperature: 0.0, expected more than 0"),
        (NCCL, {"queue": 0}, "queue: 0, expected at least 1"),
        (DMU, {"temperature": -1.0}, "temperature: -1.0, expected more than 0"),
    ],
)
def test_numbers_out_of_range_are_named(kind, options, message):
    with pytest.raises(InputError, match=message):
        kind(*embedders(), **options)


@DIMS
def test_dmu_s_terms_are_those_of_the_formula(old_dim, new_dim):
    method, teacher = prepared(DMU, old_dim, new_dim, inheritance=0.5, adaptation=2.0, temperature=0.3, hidden=8)
    nn.init.normal_(method.network[-1].weight)
    rows = torch.arange(23, 3, -2)
    (new,), old, y = normal((10, new_dim)), teacher.old[rows], LABELS[rows]
    means = class_means(unit(teacher.old), LABELS)
    found = {name: value.item() for name, value in method.train().terms(new, old, y, rows).items()}
    layer = method.classifier.linear
    adapted = (cut(old, new_dim) + through(method.network, old)).detach()
    cosines = torch.tensor([[cosine(row, mu) for mu in means] for row in cut(new, old_dim)])
    each = [entropy(row[None] / 0.3, [k], 0) for row, k in zip(cosines, y, strict=True)]
    apart = mean([((a - b) ** 2).sum() for a, b in zip(unit(adapted), unit(new), strict=True)])
    with torch.no_grad():
        expected = {
            "classification": entropy(through([layer], new), y),
            "inheritance": 0.5 * mean(told_by_means(old, means, y, 0.3) * torch.tensor(each)),
            "adaptation": 2 * (apart + entropy(through([layer], adapted), y)),
        }
    assert found == pytest.approx(expected, rel=1e-4)


@DIMS
def test_dmu_serves_the_new_query_to_an_adapted_gallery_that_is_the_old_one_at_first(old_dim, new_dim):
    method, teacher = prepared(DMU, old_dim, new_dim, hidden=8)
    (new,) = normal((24, new_dim))
    with torch.no_grad():
        query, gallery = method.eval().query(teacher.old * torch.nan, new), method.gallery(teacher.old, new)
    assert query[0] is query[1] is gallery[1] is new
    assert torch.equal(gallery[0], cut(teacher.old, new_dim))
    assert (method.encoder_passes, method.transforms_gallery) == (1, True)


def test_dmu_inherits_more_from_what_is_discriminative():
    means = torch.eye(3)
    sure = discriminativeness(
        torch.tensor([[5.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]), means, torch.zeros(3, dtype=torch.long)
    )
    assert sure[0] > 0.99
    assert sure[1].item() == pytest.approx(0.5, abs=0.01)
    assert sure[2] < 0.01
