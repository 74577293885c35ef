"""AdvBCT: an adversary that cannot tell the new space from the old one, and elastic boundaries around old classes."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.models import Embedder


def class_radii(old: Tensor, labels: Tensor, means: Tensor) -> Tensor:
    """Largest distance of a class's old embeddings from its mean that is no outlier, (C,); 0 for a single image.

    An outlier is farther than the third quartile by more than 1.5 interquartile ranges.

    Args:
        old: (N, D), unit vectors.
        labels: (N,).
        means: (C, D).
    """
    radii = means.new_zeros(len(means))
    for label in range(len(means)):
        distance = (old[labels == label] - means[label]).norm(dim=1)
        if len(distance) > 1:
            low, high = torch.quantile(distance, torch.tensor([0.25, 0.75], device=distance.device))
            radii[label] = distance[distance <= high + 1.5 * (high - low)].max()
    return radii


def elastic_radii(radii: Tensor, weight: Tensor, threshold: float = 1.0) -> Tensor:
    """r + |r - T| sigmoid(w) for radii below T, r - |r - T| sigmoid(w) for the others: (C,)."""
    sign = torch.where(radii < threshold, 1.0, -1.0)
    return radii + sign * (radii - threshold).abs() * torch.sigmoid(weight)


def point_to_set_loss(new: Tensor, labels: Tensor, means: Tensor, radii: Tensor) -> Tensor:
    """Mean over those that lie outside of |n(z) - mu_y| - r_y; 0 if none does. Classes of radius 0 are left out.

    Args:
        new: (B, D).
        labels: (B,).
        means: (C, D), of unit vectors, not normalised again.
        radii: (C,).
    """
    beyond = (F.normalize(new, dim=1) - means[labels]).norm(dim=1) - radii[labels]
    outside = (beyond > 0) & (radii[labels] > 0)
    return beyond[outside].sum() / outside.sum().clamp_min(1)


class _Reverse(torch.autograd.Function):
    """The identity, whose gradient is multiplied by -strength."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return -ctx.strength * gradients[0], None


class AdvBCT(Joint):
    """AdvBCT (arXiv 2305.01957): CE + point-to-set + (E - e + 1) / E * adversarial, in epoch e = 1 to E.

    A discriminator (D -> 100 -> BatchNorm -> ReLU -> 2) tells new embeddings from old ones; the new model gets its
    reversed gradient, times 2 / (1 + exp(-10 p)) - 1 at share p of the training. As in the authors' code the embedding
    ends in batch normalisation: without it the adversary can make it collapse.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        threshold: T of the elastic boundaries.
        hidden: width of the discriminator.
    """

    means: Tensor
    radii: Tensor

    def __init__(self, old: Embedder, new: Embedder, threshold: float = 1.0, hidden: int = 100) -> None:
        super().__init__(old, new)
        self.threshold, self.hidden = threshold, hidden
        self.norm = nn.BatchNorm1d(self.new.project.out_features)

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        dim = teacher.old.shape[1]
        self.discriminator = nn.Sequential(
            nn.Linear(dim, self.hidden), nn.BatchNorm1d(self.hidden), nn.ReLU(), nn.Linear(self.hidden, 2)
        )
        self.elastic = nn.Parameter(torch.zeros(len(teacher.known)))
        means = teacher.means(normalize=True)
        self.register_buffer("means", means, persistent=False)
        radii = class_radii(F.normalize(teacher.old, dim=1), teacher.labels, means)
        self.register_buffer("radii", radii, persistent=False)

    def serve(self, new: Tensor) -> Tensor:
        return self.norm(new)

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        epochs, steps = self.trainer.max_epochs or 1, int(self.trainer.estimated_stepping_batches)
        new = self.serve(new)
        strength = 2 / (1 + math.exp(-10 * self.global_step / steps)) - 1
        compatible = self.compatible(new)
        reversed_new = _Reverse.apply(F.normalize(compatible, dim=1), strength)
        verdict = self.discriminator(torch.cat([reversed_new, F.normalize(old, dim=1)]))
        source = torch.cat([torch.zeros_like(labels), torch.ones_like(labels)])
        radii = elastic_radii(self.radii, self.elastic, self.threshold).where(self.radii > 0, 0.0)
        return {
            "classification": self.cross_entropy(self.classifier(new), labels),
            "point_to_set": point_to_set_loss(compatible, labels, self.means, radii),
            "adversarial": (epochs - self.current_epoch) / epochs * F.cross_entropy(verdict, source),
        }
