"""Losses as pure functions: those of the reverse query transform (arXiv 2301.03767) and shared ones.

The paper's body was not available. The forms agree with its abstract and with texts that quote it; "our choice" in a
docstring means no source was found. No loss knows networks: the caller applies psi and rho. A loss of one method only
is in that method's file.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Mode = Literal["old_only", "new_only", "independent", "joint"]
Reduction = Literal["outside", "inside"]


def unit(rows: Tensor) -> Tensor:
    """Normalise rows (N, D) to unit vectors, in float32 or float64."""
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Compute the cosine of each of a (N, D) with each of b (M, D): (N, M), in float32 or float64 under autocast too.

    Example:
        >>> cosines(torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, -1.0]])).tolist()
        [[1.0, 0.0]]
    """
    with torch.autocast(a.device.type, enabled=False):
        return unit(a) @ unit(b).T


def squared_distances(a: Tensor, b: Tensor, normalize: bool = True) -> Tensor:
    """Compute squared L2 distances; 2 - 2 cos on unit vectors.

    Args:
        a: (N, D).
        b: (M, D).
        normalize: compare directions only.

    Returns:
        (N, M), in float32 under autocast too.
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b = a.float(), b.float()
        if normalize:
            a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp_min(0)


def alignment_loss(transformed: Tensor, old: Tensor, normalize: bool = True) -> Tensor:
    """Compute L_RQT = mean_i |psi(z_i) - o_i|^2 (arXiv 2301.03767; squared L2 is our choice).

    Args:
        transformed: psi(z), (B, D_old).
        old: phi_old of the same images, (B, D_old).
        normalize: compare directions only, as in `squared_distances`.

    Returns:
        A scalar.

    Example:
        >>> alignment_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])).item()
        2.0
    """
    transformed, old = transformed.float(), old.float()
    if normalize:
        transformed, old = F.normalize(transformed, dim=1), F.normalize(old, dim=1)
    return (transformed - old).square().sum(1).mean()


def metric_compatible_loss(
    transformed: Tensor,
    old: Tensor,
    new: Tensor,
    labels: Tensor,
    *,
    mode: Mode = "joint",
    temperature: float = 0.1,
    reduction: Reduction = "outside",
    k_pos: int | None = None,
    k_neg: int | None = None,
    self_positive: bool = True,
    normalize: bool = True,
) -> Tensor:
    """Compute L_MCL: a supervised contrastive loss with negatives from both retrieval systems.

    With s^o_ij = exp(-dist(psi(z_i), o_j) / t) and s^n_ij = exp(-dist(z_i, z_j) / t), the loss of anchor i sums one
    term per system: the mean over its positives p of -log(s_ip / (s_ip + N)), L_out of arXiv 2004.11362. With reduction
    "inside" the term is -log(P / (P + N)), P the sum over the positives (Eq. 11 of arXiv 2301.03767 as recollected, not
    read); the easiest positive alone satisfies it. Positives are the images of i's class, i itself in s^o (the two
    spaces differ) but not in s^n; N sums s^o + s^n over the images of other classes.

    `mode` selects ablations: "old_only" is the first term with negatives from s^o alone, "new_only" the second with
    negatives from s^n alone, "independent" the sum of these two, "joint" the loss above. The paper mines, with numbers
    unknown to us. A term is the mean over the anchors with a positive in it; it is zero without any, or if the batch
    has a single class. Computed with logsumexp in float32.

    Args:
        transformed: psi(z), (B, D_old): queries in the old space.
        old: o, (B, D_old): gallery items in the old space.
        new: z, or rho(z), (B, D_new): both in the new space.
        labels: (B,) class indices.
        mode: which terms, and whose negatives.
        temperature: t.
        reduction: average an anchor's positives "outside" the logarithm, or sum them "inside".
        k_pos: hardest (most distant) positives to keep per anchor and system; None keeps all.
        k_neg: hardest (closest) negatives to keep, likewise.
        self_positive: i counts among its positives in s^o.
        normalize: compare directions only, as in `squared_distances`.
    """
    same = labels[:, None] == labels
    others = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    old_logits = -squared_distances(transformed, old, normalize) / temperature
    new_logits = -squared_distances(new, new, normalize) / temperature
    old_negative, new_negative = _negatives(old_logits, ~same, k_neg), _negatives(new_logits, ~same, k_neg)
    if mode == "joint":
        old_negative = new_negative = torch.logaddexp(old_negative, new_negative)
    terms = []
    if mode != "new_only":
        terms.append(_term(old_logits, same if self_positive else others, old_negative, k_pos, reduction))
    if mode != "old_only":
        terms.append(_term(new_logits, others, new_negative, k_pos, reduction))
    return torch.stack(terms).sum()


def _term(logits: Tensor, mask: Tensor, negative: Tensor, k: int | None, reduction: Reduction) -> Tensor:
    """Compute one system's term, the mean over the anchors with positives.

    Args:
        logits: (B, B).
        mask: (B, B), the positives.
        negative: (B,) log N.
        k: smallest positives of each row to keep; None keeps all.
        reduction: as in `metric_compatible_loss`.
    """
    anchors = mask.any(1)
    positives, negative = logits.masked_fill(~mask, torch.inf)[anchors], negative[anchors]
    if k is not None and k < logits.shape[1]:
        positives = positives.topk(k, dim=1, largest=False).values
    found = positives < torch.inf
    if reduction == "inside":
        losses = F.softplus(negative - positives.masked_fill(~found, -torch.inf).logsumexp(1))
    else:
        losses = F.softplus(negative[:, None] - positives).sum(1) / found.sum(1)
    return losses.sum() / max(len(losses), 1)


def _negatives(logits: Tensor, mask: Tensor, k: int | None) -> Tensor:
    """Compute the log of the sum over each row's masked entries, or over the k largest: (B,)."""
    masked = logits.masked_fill(~mask, -torch.inf)
    return (masked if k is None or k >= logits.shape[1] else masked.topk(k, dim=1).values).logsumexp(1)


def batch_hard_triplet_loss(embeddings: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Average max(0, margin + farthest positive - nearest negative) over anchors, in Euclidean distances.

    The "batch hard" loss of Hermans et al., "In Defense of the Triplet Loss" (arXiv 1703.07737, equation 5). Anchors
    without a positive or a negative in the batch are left out; without any anchor the loss is 0.

    Args:
        embeddings: (B, D).
        labels: (B,).
        margin: by which the nearest negative should be farther than the farthest positive.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        distance = torch.cdist(rows, rows)
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farthest = distance.masked_fill(~same | itself, -torch.inf).amax(1)
    nearest = distance.masked_fill(same, torch.inf).amin(1)
    found = torch.isfinite(farthest) & torch.isfinite(nearest)
    return F.relu(margin + farthest - nearest)[found].sum() / found.sum().clamp(min=1)


def arcface_logits(
    embeddings: Tensor, weight: Tensor, labels: Tensor, scale: float = 64.0, margin: float = 0.5
) -> Tensor:
    """Compute scale * cos(angle), the own class's angle increased by `margin` (ArcFace, arXiv 1801.07698).

    If angle and margin exceed pi together, the cosine is reduced by margin * sin(margin) instead, so that it keeps
    falling (the authors' code).

    Args:
        embeddings: (B, D).
        weight: (C, D).
        labels: (B,).
        scale: s.
        margin: m, in radians.

    Returns:
        (B, C), in float32 under autocast too.
    """
    cosine = cosines(embeddings, weight)
    own = cosine.gather(1, labels[:, None])
    sine = (1 - own.square()).clamp_min(1e-12).sqrt()
    wider = torch.where(
        own > -math.cos(margin), own * math.cos(margin) - sine * math.sin(margin), own - margin * math.sin(margin)
    )
    return scale * cosine.scatter(1, labels[:, None], wider)


def contrastive_loss(queries: Tensor, references: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Compute the supervised contrastive loss of two views' unit vectors (SupCon's L_out, arXiv 2004.11362).

    Mean over anchors i and their positives p of -log(exp(<q_i, r_p> / t) / sum_k exp(<q_i, r_k> / t)). Row i of the
    references is a positive of anchor i, so every anchor has one. In a batch of one class all are positives, and the
    loss is smallest if all are equally near.

    Args:
        queries: (B, D).
        references: (B, D), of the same images.
        labels: (B,).
        temperature: t.
    """
    logits = cosines(queries, references) / temperature
    same = labels[:, None] == labels
    return -((logits.log_softmax(1) * same).sum(1) / same.sum(1)).mean()
