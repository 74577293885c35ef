"""AdvBCT: an adversary aligns the new space with the old one; elastic boundaries enclose the old classes."""

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
    """Compute each class's radius: its largest old distance to the class mean without outliers, (C,).

    An outlier exceeds the third quartile by more than 1.5 interquartile ranges. As in the public code, quartiles are
    the sorted distances at N // 4 and 3 N // 4, and classes of fewer than four images have no outliers. A class of one
    image has radius 0.

    Args:
        old: (N, D), unit vectors.
        labels: (N,).
        means: (C, D).
        quantile: of the remaining distances, taken as the radius; 1 is the largest.
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
    """Stretch radii (C,): r + |r - T| sigmoid(w) below T, r - |r - T| sigmoid(w) otherwise."""
    sign = torch.where(radii < threshold, 1.0, -1.0)
    return radii + sign * (radii - threshold).abs() * torch.sigmoid(weight)


def point_to_set_loss(new: Tensor, labels: Tensor, means: Tensor, radii: Tensor) -> Tensor:
    """Average |n(z) - mu_y| - r_y over the embeddings outside their class's ball; 0 if none is outside.

    Classes of radius 0 are left out.

    Args:
        new: (B, D).
        labels: (B,).
        means: (C, D), means of unit vectors, not normalised again.
        radii: (C,).
    """
    beyond = (F.normalize(new, dim=1) - means[labels]).norm(dim=1) - radii[labels]
    outside = (beyond > 0) & (radii[labels] > 0)
    return beyond[outside].sum() / outside.sum().clamp_min(1)


class _Reverse(torch.autograd.Function):
    """The identity with its gradient multiplied by -strength."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return -ctx.strength * gradients[0], None


class AdvBCT(Joint):
    """AdvBCT (arXiv 2305.01957): CE + point-to-set + (E - e + 1) / E * adversarial in epoch e = 0 to E - 1.

    A discriminator (D -> 100 -> BatchNorm -> ReLU -> 2) tells raw new embeddings from raw old ones; its loss is the sum
    of the cross entropies of a new and an old batch. The new model gets the reversed gradient, scaled by 2 / (1 +
    exp(-10 p)) - 1 at share p of the training.

    As in the authors' code the new embedding ends in batch normalisation; without it the adversary can make the
    embedding collapse. Their old embedding ends in one too, so both models should have `final_norm` (its weight does
    not learn). A norm is added only if the new model has none. Boundaries cover all classes here, and the old model's
    training classes there.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        threshold: T of the elastic boundaries.
        hidden: width of the discriminator.
        radius_quantile: quantile of a class's distances taken as its radius; 1 in the authors' code, where a weak old
            model's balls also cover most other classes.
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
