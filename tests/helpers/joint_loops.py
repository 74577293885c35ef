"""The terms of the methods that train the new model as plain loops over their formulas, and random rows for them."""

import math
from types import SimpleNamespace

import torch
from torch import nn

from compat.methods import BCT, BT2, NCCL, OCA, RACT, AdvBCT, DSimplex, MixBCT, SingleModel, Teacher, UniBCT
from compat.methods.dsimplex import turned
from compat.models import simplex
from tests.helpers.backbones import TinyConv
from tests.helpers.pairs import IMAGES, LABELS, embedders

OPTIONS: dict[type, dict] = {OCA: {"extra": 2}, BT2: {"extra": 2}}
KNOWN = torch.tensor([1, -1, 0, -1])


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


def radii_of(old, labels, means, quantile=1.0):
    radii = []
    for c in range(len(means)):
        far = sorted(float((row - means[c]).norm()) for row in old[labels == c])
        if len(far) >= 4:
            low, high = far[int(len(far) / 4)], far[int(3 * len(far) / 4)]
            far = [x for x in far if x <= high + 1.5 * (high - low)]
        place = quantile * (len(far) - 1)
        between = far[math.floor(place)] + place % 1 * (far[math.ceil(place)] - far[math.floor(place)])
        radii.append(between if len(far) > 1 else 0.0)
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
        for place, (_, i) in enumerate(ranked):
            kept[i] = place < share * len(ranked)
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
    z = through([method.norm], z) if kind is AdvBCT and not method.new.final_norm else z
    c, means, unit_means = cut(z, dim), class_means(old, LABELS), class_means(unit(old), LABELS)
    plain = {"classification": entropy(through([method.classifier.linear], z), y)}
    if kind is BCT:
        layer, scale = method.old.classifier.linear, method.old.classifier.scale
        heads, bias = extended(layer.weight, torch.zeros(2) if scale else layer.bias, means)
        logits, targets, seen = scale * unit(c) @ unit(heads).T if scale else c @ heads.T + bias, y, y >= 0
        if method.classes == "old":
            targets, seen = KNOWN[y], KNOWN[y] >= 0
            logits = logits[:, [KNOWN.tolist().index(k) for k in range(2)]]
        return {**plain, "influence": method.weight * entropy(logits[seen], targets[seen])}
    if kind is RACT:
        return {**plain, "contrast": method.weight * contrast(c, o, y, method.temperature, method.negatives)}
    if kind is UniBCT:
        logits = arcface(z, weight, y, 64, 0.5)
        prototypes, scale = unit(c) @ means.T, method.prototype_scale
        if scale is not None:
            prototypes = arcface(c, means, y, scale, method.prototype_margin)
        return {"classification": entropy(logits, y), "prototypes": entropy(prototypes, y)}
    if kind is AdvBCT:
        radii = radii_of(unit(old), LABELS, unit_means, method.radius_quantile)
        radii = elastic(radii, method.elastic, method.threshold)
        told = [entropy(through(method.discriminator, each), [n] * len(y), 0) for n, each in enumerate((c, o))]
        adversarial = 4 / 6 * sum(told)
        return {**plain, "point_to_set": point_to_set(c, y, unit_means, radii), "adversarial": adversarial}
    if kind is MixBCT:
        mixed = torch.where(closest(unit(old), LABELS, 0.9)[rows][:, None], o, c)
        return {"classification": entropy(arcface(mixed, cut(weight, dim), y, 64, 0.5), y)}
    if kind is OCA:
        logits = 16 * (unit(z) @ method.rotation.weight.T) @ unit(weight).T
        means = unit_means if method.unit_means else means
        prototypes, alignment = entropy(unit(c) @ means.T, y), from_own(c, y, means)
        return {"classification": 5 * entropy(logits, y), "prototypes": 10 * prototypes, "alignment": 5 * alignment}
    if kind is BT2:
        h, f = unit(z[:, : method.dim]), unit(through([nn.ReLU(), method.more], z)[:, :2])
        e = torch.cat([f, 2 * h @ method.inner.weight.T], 1)[:, :dim] @ method.outer.weight.T
        return {
            "classification": entropy(through([method.head], h), y),
            "new": mean([1 - cosine(a, b) for a, b in zip(h, teacher.new[rows], strict=True)]),
            "old": 5 * mean([1 - cosine(a, b) for a, b in zip(e, o, strict=True)]),
            "prototypes": 10 * entropy(unit(e) @ (unit_means if method.unit_means else means).T, y),
        }
    if kind is NCCL:
        queue, heads = unit(old), unit(cut(weight, dim))
        same, weights = y[:, None] == LABELS, (1 + unit(o) @ queue.T) / 2
        s = method.logit_scale
        logits = torch.stack([torch.stack([(s * heads @ a) @ (s * heads @ b) for b in queue]) for a in unit(c)])
        pairs = [method.weights[0] * drawn_to(unit(c) @ queue.T, same, weights, method.temperature)]
        pairs += [method.weights[1] * drawn_to(logits, same, weights, method.temperature)]
        return {**plain, "embeddings": pairs[0], "logits": pairs[1]}
    if kind is DSimplex:
        vertices = turned(simplex(z.shape[1])[:4], cut(means, z.shape[1]))
        rest, weight = entropy(z @ vertices.T, y), method.weight
        return {"classification": (1 - weight) * rest, "alignment": weight * higher_order(c, o, y)}

    def backward(vectors, fresh=False):
        start = cut(unit(vectors), dim)
        return start + sum(through(path, start, fresh) for path in getattr(method.backward_transform, "paths", ()))

    lowest = [min(cosine(row, unit_means[k]) for row in old[k == LABELS]) for k in range(4)]
    off = [(a - b).square().mean() for a, b in zip(unit(backward(weight, fresh=True)), unit(unit_means), strict=True)]
    boundary = outside(backward(z), y, unit_means, lowest)
    classification = entropy(arcface(z, weight, y, 16, 0.1), y)
    return {"classification": classification, "alignment": 100 * mean(off), "boundary": boundary}


def prepared(kind, old_dim=3, new_dim=5, normalize=False, final_norm=False, **options):
    old, new = embedders(old_dim, new_dim, final_norm)
    old.normalize = normalize
    old.classify(2)
    method = kind(old, new, **{**OPTIONS.get(kind, {}), **options})
    with torch.no_grad():
        teacher = Teacher(old(IMAGES), new(IMAGES), LABELS, KNOWN)
    method.prepare(SingleModel(TinyConv(), new_dim, label_smoothing=0.1), teacher)
    method.trainer = SimpleNamespace(max_epochs=6, current_epoch=3, global_step=2, estimated_stepping_batches=20)
    return method, teacher
