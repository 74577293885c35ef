"""NCCL: attract a new embedding to the old ones of its class, weighted by their nearness to its own old one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from compat.errors import at_least_one, not_negative, positive
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.models import Embedder


def neighbourhood_loss(similarities: Tensor, same: Tensor, weights: Tensor, temperature: float = 1.0) -> Tensor:
    """Average -w_ip log softmax_j(s_ij / t)[p] over each anchor i's positives p, then over anchors.

    A batch without negatives is allowed.

    Args:
        similarities: s, (B, K) of anchors to old items; each anchor has a positive.
        same: P, (B, K) bool, the positives.
        weights: w, (B, K).
        temperature: t.
    """
    surprise = -(similarities / temperature).log_softmax(1)
    return ((same * weights * surprise).sum(1) / same.sum(1)).mean()


class NCCL(Joint):
    """Neighbourhood consensus contrastive learning (AAAI 2022, arXiv 2108.03372), following MixBCT's code.

    Loss: classification + weight * l(n(z) . n(o)) + logit_weight * l(q(z) . q(o)). l = `neighbourhood_loss`, w_ij = (1
    + <n(o_i), n(o_j)>) / 2, q the cosines to the new class weights times `logit_scale`, without gradient for old
    embeddings.

    The paper's equations were not available, and MixBCT's code is not its authors'. That code contrasts with a queue of
    the last 8192 old embeddings; here the queue is the batch's old embeddings and others drawn anew each step, or all
    if there are no more. Its filter of old embeddings of low credibility keeps all of them (the softmax over one class
    has no entropy) and is unused in its training; we omit it. Its logits are ArcFace's on both sides, with a margin
    and a scale of 64, and its classification is ArcFace; ours are cosines without a margin, and the recipe's
    classification. At `logit_scale` 1 the products of logits are 64 * 64 = 4,096 times smaller than there, and with
    `logit_weight` 0.01 their term is next to nothing: all figures of this suite are without it in effect. At 64 its
    softmax is all but hard, and that code clips gradients.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        weight: alpha, of the contrast of embeddings.
        logit_weight: beta, of the contrast of logits.
        logit_scale: of the logits of both sides; 64 in MixBCT's code.
        temperature: of both.
        queue: number of old embeddings to contrast with.

    Raises:
        InputError: a weight, a temperature or a queue out of range.
    """

    labels: Tensor

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        weight: float = 1.0,
        logit_weight: float = 0.01,
        logit_scale: float = 1.0,
        temperature: float = 1.0,
        queue: int = 8192,
    ) -> None:
        super().__init__(old, new)
        not_negative(weight=weight, logit_weight=logit_weight)
        positive(logit_scale=logit_scale, temperature=temperature)
        at_least_one(queue=queue)
        self.weights, self.logit_scale = (weight, logit_weight), logit_scale
        self.temperature, self.queue = temperature, queue

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        self.register_buffer("labels", teacher.labels, persistent=False)

    def shown(self, rows: Tensor) -> Tensor:
        """Draw the old embeddings (K,) that a batch of images is contrasted with, its own included."""
        images = len(self.labels)
        if images <= self.queue:
            return torch.arange(images, device=rows.device)
        return torch.cat([rows, torch.randperm(images, device=rows.device)[: max(self.queue - len(rows), 0)]])

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        shown = self.shown(rows)
        queue, old = F.normalize(self.old_space[shown], dim=1), F.normalize(old, dim=1)
        compatible = F.normalize(self.compatible(new), dim=1)
        heads = F.normalize(self.compatible(self.classifier.linear.weight), dim=1)
        same, weights = labels[:, None] == self.labels[shown], (1 + old @ queue.T) / 2
        logits = self.logit_scale**2 * (compatible @ heads.T) @ (queue @ heads.detach().T).T
        of_embeddings, of_logits = self.weights
        return {
            "classification": self.cross_entropy(self.classifier(new), labels),
            "embeddings": of_embeddings * neighbourhood_loss(compatible @ queue.T, same, weights, self.temperature),
            "logits": of_logits * neighbourhood_loss(logits, same, weights, self.temperature),
        }
