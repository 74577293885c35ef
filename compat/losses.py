"""Losses as pure functions: those of the reverse query transform (arXiv 2301.03767), and what several methods share.

The body of that paper was not available: the forms are consistent with its abstract and the texts that quote it, and
where a docstring says "our choice" no source was found. Nothing here knows of networks: the caller applies psi
and rho. A loss that one method alone has is in that method's file.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Mode = Literal["old_only", "new_only", "independent", "joint"]


def squared_distances(a: Tensor, b: Tensor, normalize: bool = True) -> Tensor:
    """Squared L2 distances; on unit vectors these are 2 - 2 cos.

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
    """L_RQT = mean_i |psi(z_i) - o_i|^2 (arXiv 2301.03767; squared L2 is our choice).

    Args:
        transformed: psi(z), (B, D_old).
        old: phi_old of the same images, (B, D_old).
        normalize: compare directions only, as `squared_distances` does.

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
    k_pos: int | None = None,
    k_neg: int | None = None,
    normalize: bool = True,
) -> Tensor:
    """L_MCL: a supervised contrastive loss whose negatives come from both retrieval systems.

    With s^o_ij = exp(-dist(psi(z_i), o_j) / t) and s^n_ij = exp(-dist(z_i, z_j) / t), the loss of anchor i is
    the sum of two terms, -log(P^o / (P^o + N)) and -log(P^n / (P^n + N)): P^o sums s^o over the images of i's
    class, i itself included (the two spaces differ); P^n sums s^n over the other images of the class; N sums
    s^o + s^n over the images of other classes (arXiv 2301.03767, Eq. 11 as recollected, not read).

    The ablations of `mode`: "old_only" is the first term with negatives from s^o alone, "new_only" the second
    with negatives from s^n alone, "independent" the sum of these two, "joint" the loss above.

    Hard mining keeps, for each anchor and each system, the `k_pos` most distant positives and the `k_neg`
    closest negatives of the batch. The paper mines, with numbers not known to us; we do not unless
    asked to: results/README.md shows what 1 and 10 cost. An anchor that is alone in its class has no second term:
    that term is the mean over the others (and zero if there are none). Computed with logsumexp in float32.

    Args:
        transformed: psi(z), (B, D_old): queries in the old space.
        old: o, (B, D_old): gallery items in the old space.
        new: z, or rho(z), (B, D_new): both in the new space.
        labels: (B,) class indices.
        mode: which terms, and whose negatives.
        temperature: t.
        k_pos: hardest positives to keep; None keeps all.
        k_neg: hardest negatives to keep; None keeps all.
        normalize: compare directions only, as `squared_distances` does.

    Returns:
        A scalar.
    """
    same = labels[:, None] == labels
    others = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    old_logits = -squared_distances(transformed, old, normalize) / temperature
    new_logits = -squared_distances(new, new, normalize) / temperature
    old_positive, old_negative = _positives(old_logits, same, k_pos), _negatives(old_logits, ~same, k_neg)
    new_positive, new_negative = _positives(new_logits, others, k_pos), _negatives(new_logits, ~same, k_neg)
    if mode == "joint":
        old_negative = new_negative = torch.logaddexp(old_negative, new_negative)
    old_term = _contrast(old_positive, old_negative).mean()
    if mode == "old_only":
        return old_term
    has_positive = others.any(1)
    new_terms = _contrast(new_positive[has_positive], new_negative[has_positive])
    new_term = new_terms.sum() / max(len(new_terms), 1)
    return new_term if mode == "new_only" else old_term + new_term


def _contrast(positive: Tensor, negative: Tensor) -> Tensor:
    """-log(P / (P + N)) from log P and log N."""
    return F.softplus(negative - positive)


def _positives(logits: Tensor, mask: Tensor, k: int | None) -> Tensor:
    """log of the sum over the masked entries of each row, of the k smallest of them if k is given."""
    if k is None or k >= logits.shape[1]:
        return logits.masked_fill(~mask, -torch.inf).logsumexp(1)
    hardest = logits.masked_fill(~mask, torch.inf).topk(k, dim=1, largest=False).values
    return hardest.masked_fill(hardest == torch.inf, -torch.inf).logsumexp(1)


def _negatives(logits: Tensor, mask: Tensor, k: int | None) -> Tensor:
    """log of the sum over the masked entries of each row, of the k largest of them if k is given."""
    masked = logits.masked_fill(~mask, -torch.inf)
    return (masked if k is None or k >= logits.shape[1] else masked.topk(k, dim=1).values).logsumexp(1)


def batch_hard_triplet_loss(embeddings: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Mean over anchors of max(0, margin + farthest positive - nearest negative), Euclidean distances.

    The "batch hard" of Hermans et al., "In Defense of the Triplet Loss" (arXiv 1703.07737, equation 5). An anchor
    without a positive or without a negative in the batch is left out; if all are, the loss is 0.

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
    """scale * cos(angle), the angle to the own class made larger by `margin` (ArcFace, arXiv 1801.07698).

    Where the angle and the margin come to more than pi the cosine is taken as it is less margin * sin(margin), so
    that it keeps falling (the authors' code).

    Args:
        embeddings: (B, D).
        weight: (C, D).
        labels: (B,).
        scale: s.
        margin: m, in radians.

    Returns:
        (B, C).
    """
    cosine = F.linear(F.normalize(embeddings, dim=1), F.normalize(weight, dim=1))
    own = cosine.gather(1, labels[:, None])
    sine = (1 - own.square()).clamp_min(1e-12).sqrt()
    wider = torch.where(
        own > -math.cos(margin), own * math.cos(margin) - sine * math.sin(margin), own - margin * math.sin(margin)
    )
    return scale * cosine.scatter(1, labels[:, None], wider)


def contrastive_loss(queries: Tensor, references: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Supervised contrastive loss between two views (SupCon's L_out, arXiv 2004.11362), of unit vectors.

    Mean over anchors i and over their positives p of -log(exp(<q_i, r_p> / t) / sum_k exp(<q_i, r_k> / t)); row i of
    the references is a positive of anchor i as well.

    Args:
        queries: (B, D).
        references: (B, D), of the same images.
        labels: (B,).
        temperature: t.
    """
    logits = F.normalize(queries, dim=1) @ F.normalize(references, dim=1).T / temperature
    same = labels[:, None] == labels
    return -((logits.log_softmax(1) * same).sum(1) / same.sum(1)).mean()
