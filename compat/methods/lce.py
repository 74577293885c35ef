"""LCE: class weights aligned with the old class means, and each class kept inside its old boundary."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compat.errors import angle, not_negative, positive
from compat.losses import arcface_logits
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.models import Embedder


def boundary_loss(new: Tensor, means: Tensor, lowest: Tensor, labels: Tensor) -> Tensor:
    """Average max(lowest_y - cos(z, mu_y), 0): 0 for an embedding no farther than its class's farthest old one.

    Args:
        new: (B, D).
        means: (C, D) class means of old embeddings.
        lowest: (C,) smallest cosine of an old embedding to its class mean.
        labels: (B,).
    """
    return (lowest[labels] - F.cosine_similarity(new, means[labels])).clamp_min(0).mean()


class ResidualBottleneck(nn.Module):
    """x + the sum of `paths` bottlenecks Linear -> BatchNorm -> PReLU -> Linear ... of width 16 (LCE's transform)."""

    def __init__(self, dim: int, paths: int = 4, width: int = 16) -> None:
        super().__init__()

        def block(inside: int, outside: int) -> list[nn.Module]:
            return [nn.Linear(inside, outside, bias=False), nn.BatchNorm1d(outside), nn.PReLU()]

        self.paths = nn.ModuleList(
            nn.Sequential(*block(dim, width), *block(width, width), nn.Linear(width, dim)) for _ in range(paths)
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map (B, D) to (B, D)."""
        return embeddings + torch.stack([path(embeddings) for path in self.paths]).sum(0)


class LCE(Joint):
    """LCE (Meng et al., "Learning Compatible Embeddings", ICCV 2021), on unit vectors throughout.

    Loss: ArcFace + alignment * MSE(n(W_n), n(mu)) + boundary * `boundary_loss`. With `transform`, a backward transform
    maps W_n and z before they are compared with the old space. It is trained with the rest; the public code never
    passes its transforms to the optimizer. Without it, the spaces are compared directly.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        transform: learn a transform from the new space to the old one.
        alignment: weight of the class weights' distance; 100 in the public code.
        boundary: weight of the boundary loss.
        scale: of ArcFace.
        margin: of ArcFace, in radians.
    """

    means: Tensor
    lowest: Tensor

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        transform: bool = False,
        alignment: float = 100.0,
        boundary: float = 1.0,
        scale: float = 16.0,
        margin: float = 0.1,
    ) -> None:
        super().__init__(old, new)
        not_negative(alignment=alignment, boundary=boundary)
        positive(scale=scale)
        angle(margin=margin)
        self.backward_transform = ResidualBottleneck(old.project.out_features) if transform else nn.Identity()
        self.weights, self.scale, self.margin = (alignment, boundary), scale, margin

    def compatible(self, new: Tensor) -> Tensor:
        return self.backward_transform(super().compatible(F.normalize(new, dim=1)))

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        self.classifier.without_bias()
        means = teacher.means(normalize=True)
        cosine = F.cosine_similarity(teacher.old, means[teacher.labels])
        lowest = cosine.new_full((len(means),), torch.inf).scatter_reduce(0, teacher.labels, cosine, "amin")
        self.register_buffer("means", means, persistent=False)
        self.register_buffer("lowest", lowest, persistent=False)

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        weight = self.classifier.linear.weight
        logits = arcface_logits(new, weight, labels, self.scale, self.margin)
        self.backward_transform.eval()  # class weights are not part of its statistics
        aligned = F.normalize(self.compatible(weight), dim=1)
        self.backward_transform.train(self.training)
        apart = F.mse_loss(aligned, F.normalize(self.means, dim=1))
        alignment, boundary = self.weights
        return {
            "classification": self.cross_entropy(logits, labels),
            "alignment": alignment * apart,
            "boundary": boundary * boundary_loss(self.compatible(new), self.means, self.lowest, labels),
        }
