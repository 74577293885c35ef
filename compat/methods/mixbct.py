"""MixBCT: one classification of a mixture of new and old embeddings."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from compat import errors
from compat.losses import arcface_logits
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.models import Embedder


def credible(old: Tensor, labels: Tensor, share: float = 0.9) -> Tensor:
    """Mark each class's given share of embeddings closest to the class mean, (N,) bool.

    The authors' code also normalises each dimension over the images before it measures distances; ours does not.

    Args:
        old: (N, D), unit vectors.
        labels: (N,).
        share: of each class, rounded up.
    """
    kept = torch.zeros(len(old), dtype=torch.bool, device=old.device)
    for label in labels.unique():
        rows = (labels == label).nonzero().flatten()
        distance = (old[rows] - old[rows].mean(0)).norm(dim=1)
        kept[rows[distance.argsort()[: math.ceil(share * len(rows))]]] = True
    return kept


class MixBCT(Joint):
    """MixBCT (arXiv 2308.06948): ArcFace on a batch in which old embeddings replace a share of the new ones.

    Only images with credible old embeddings (near their class mean) are exchanged. If the new space has more dimensions
    than the old one, the surplus is not trained.

    In the authors' code both models end in batch normalisation (`final_norm` here) and gradients are clipped at norm 5.
    Their scale and margin suit 35 epochs of faces; other codes take 30 and 0.3, or 16 and 0.1, which small budgets and
    many images per class may prefer.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        share: of the batch to exchange.
        credible: share of each class's old embeddings that may be used.
        scale: of ArcFace.
        margin: of ArcFace, in radians.
    """

    may_mix: Tensor

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        share: float = 0.3,
        credible: float = 0.9,
        scale: float = 64.0,
        margin: float = 0.5,
    ) -> None:
        super().__init__(old, new)
        errors.share(share=share, credible=credible)
        errors.positive(scale=scale)
        errors.angle(margin=margin)
        self.share, self.credible, self.scale, self.margin = share, credible, scale, margin

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        self.classifier.without_bias()
        chosen = credible(F.normalize(teacher.old, dim=1), teacher.labels, self.credible)
        self.register_buffer("may_mix", chosen, persistent=False)

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        candidates = self.may_mix[rows].nonzero().flatten()
        chosen = candidates[torch.randperm(len(candidates), device=rows.device)[: int(self.share * len(rows))]]
        mixed = F.normalize(self.compatible(new), dim=1)
        mixed[chosen] = F.normalize(old[chosen], dim=1)
        weight = self.compatible(self.classifier.linear.weight)
        logits = arcface_logits(mixed, weight, labels, self.scale, self.margin)
        return {"classification": self.cross_entropy(logits, labels)}
