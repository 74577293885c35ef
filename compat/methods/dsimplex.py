"""d-Simplex: a fixed classifier, the same for all generations, keeps their spaces together."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from compat.errors import InputError
from compat.losses import cosines
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.models import Embedder


def simplex(dim: int) -> Tensor:
    """The vertices of a regular simplex around the origin, unit vectors (dim + 1, dim), any two equally far apart.

    CoReS: the unit vectors of the axes and one more, (1 - sqrt(dim + 1)) / dim in each coordinate; less their mean.
    """
    last = torch.full((1, dim), (1 - math.sqrt(dim + 1)) / dim, dtype=torch.float64)
    vertices = torch.cat([torch.eye(dim, dtype=torch.float64), last])
    return F.normalize(vertices - vertices.mean(0), dim=1).float()


def turned(vertices: Tensor, means: Tensor) -> Tensor:
    """The simplex (C, D) turned so that its vertices lie as near as they can to the directions of `means` (C, D)."""
    u, _, v = torch.linalg.svd(vertices.T @ F.normalize(means, dim=1))
    return vertices @ u @ v


def higher_order_loss(new: Tensor, old: Tensor, labels: Tensor, scale: float = 10.0) -> Tensor:
    """Mean of -s <o_i, n_i> + log sum_j exp(s <o_i, n_j> [y_j != y_i]), unit vectors (HOC, iamcl2r's authors).

    Embeddings of the own class, the image's own too, count exp(0) each, as in the public code.

    Args:
        new: (B, D).
        old: (B, D), of the same images.
        labels: (B,).
        scale: s.
    """
    similarity = scale * cosines(old, new)
    others = similarity * (labels[:, None] != labels)
    return (others.logsumexp(1) - similarity.diagonal()).mean()


class DSimplex(Joint):
    """CoReS' d-Simplex (arXiv 2111.07632) with HOC's alignment: (1 - weight) * CE(V z, y) + weight * HOC.

    V are vertices of a regular simplex in D_new dimensions, D_new + 1 of them preallocated, one for each class. In
    CoReS all generations are trained on the same V. The old model here is given, and was not: so V is turned onto
    the old class means first (orthogonal Procrustes), which gives both generations the same directions as far as a
    simplex can.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model, of at least as many dimensions as classes less one.
        weight: of the alignment; 0.9 in the public code of HOC, 0 is CoReS.

    Raises:
        InputError: more classes than vertices (in `prepare`).
    """

    vertices: Tensor

    def __init__(self, old: Embedder, new: Embedder, weight: float = 0.9) -> None:
        super().__init__(old, new)
        self.weight = weight

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        self.classifier.requires_grad_(False)
        dim, classes = self.new.project.out_features, len(teacher.known)
        if classes > dim + 1:
            raise InputError(f"new.model.embed_dim: {dim} for {classes} classes, expected at least {classes - 1}")
        means = F.pad(teacher.means(), (0, max(dim - teacher.old.shape[1], 0)))[:, :dim]
        self.register_buffer("vertices", turned(simplex(dim)[:classes], means), persistent=False)

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        alignment = higher_order_loss(self.compatible(new), old, labels)
        logits = (self.classifier.scale or 1.0) * new @ self.vertices.T
        return {
            "classification": (1 - self.weight) * self.cross_entropy(logits, labels),
            "alignment": self.weight * alignment,
        }
