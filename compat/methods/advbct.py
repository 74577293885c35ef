"""AdvBCT: an adversary that cannot tell the new space from the old one, and elastic boundaries around old classes."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compat.errors import at_least_one, positive, share
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.models import Embedder


def class_radii(old: Tensor, labels: Tensor, means: Tensor, quantile: float = 1.0) -> Tensor:
    """Largest distance of a class's old embeddings from its mean that is no outlier, (C,); 0 for a single image.

    An outlier is farther than the third quartile by more than 1.5 interquartile ranges. As in the public code, classes
    of fewer than four images have none, and quartiles are the distances at N // 4 and 3 N // 4 of their order.

    Args:
        old: (N, D), unit vectors.
        labels: (N,).
        means: (C, D).
        quantile: of those that are no outliers, in place of the largest.
    """
    radii = means.new_zeros(len(means))
    for label in range(len(means)):
        distance = (old[labels == label] - means[label]).norm(dim=1).sort().values
        count = len(distance)
        if count >= 4:
            low, high = distance[count // 4], distance[3 * count // 4]
            distance = distance[distance <= high + 1.5 * (high - low)]
        if count > 1:
            radii[label] = torch.quantile(distance, quantile)
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
    """AdvBCT (arXiv 2305.01957): CE + point-to-set + (E - e + 1) / E * adversarial, in epoch e = 0 to E - 1.

    A discriminator (D -> 100 -> BatchNorm -> ReLU -> 2) tells new embeddings from old ones, as they are: its loss is
    the sum of its cross entropies of a batch of the new and of a batch of the old ones. The new model gets its reversed
    gradient, times 2 / (1 + exp(-10 p)) - 1 at share p of the training. As in the authors' code the new embedding
    ends in batch normalisation, without which the adversary can make it collapse; theirs of the old one does too, so
    the models should have `final_norm` (whose weight does not learn), and one more is added only where the new one has
    none. Boundaries are of all classes here, of those that the old model was trained on there.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        threshold: T of the elastic boundaries.
        hidden: width of the discriminator.
        radius_quantile: of a class's distances, as its radius: 1 in the authors' code, where a weak old model's balls
            are so wide that they hold most other classes.
    """

    means: Tensor
    radii: Tensor

    def __init__(
        self, old: Embedder, new: Embedder, threshold: float = 1.0, hidden: int = 100, radius_quantile: float = 1.0
    ) -> None:
        super().__init__(old, new)
        positive(threshold=threshold)
        at_least_one(hidden=hidden)
        share(radius_quantile=radius_quantile)
        self.threshold, self.hidden, self.radius_quantile = threshold, hidden, radius_quantile
        self.norm = nn.Identity() if self.new.final_norm else nn.BatchNorm1d(self.new.project.out_features)

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        dim = teacher.old.shape[1]
        self.discriminator = nn.Sequential(
            nn.Linear(dim, self.hidden), nn.BatchNorm1d(self.hidden), nn.ReLU(), nn.Linear(self.hidden, 2)
        )
        self.elastic = nn.Parameter(torch.empty(len(teacher.known)).uniform_(-1, 1))
        means = teacher.means(normalize=True)
        self.register_buffer("means", means, persistent=False)
        radii = class_radii(F.normalize(teacher.old, dim=1), teacher.labels, means, self.radius_quantile)
        self.register_buffer("radii", radii, persistent=False)

    def serve(self, new: Tensor) -> Tensor:
        return self.norm(new)

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        epochs, steps = self.trainer.max_epochs or 1, int(self.trainer.estimated_stepping_batches)
        new = self.serve(new)
        strength = 2 / (1 + math.exp(-10 * self.global_step / steps)) - 1
        compatible = self.compatible(new)
        verdicts = self.discriminator(_Reverse.apply(compatible, strength)), self.discriminator(old)
        told = [F.cross_entropy(rows, torch.full_like(labels, source)) for source, rows in enumerate(verdicts)]
        radii = elastic_radii(self.radii, self.elastic, self.threshold).where(self.radii > 0, 0.0)
        return {
            "classification": self.cross_entropy(self.classifier(new), labels),
            "point_to_set": point_to_set_loss(compatible, labels, self.means, radii),
            "adversarial": (epochs - self.current_epoch + 1) / epochs * (told[0] + told[1]),
        }
