"""d-Simplex: a fixed classifier, the same for all generations, keeps their spaces together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from compat.errors import InputError
from compat.losses import cosines
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.methods.upgrade import resized
from compat.models import Embedder, vertices_for


def turned(vertices: Tensor, means: Tensor) -> Tensor:
    """The simplex (C, D) turned so that its vertices lie as near as they can to the directions of `means` (C, D)."""
    u, _, v = torch.linalg.svd(vertices.T @ F.normalize(means, dim=1))
    return vertices @ u @ v


def higher_order_loss(new: Tensor, old: Tensor, labels: Tensor, scale: float = 10.0) -> Tensor:
    """Mean of -s <o_i, n_i> + log sum_j exp(s <o_i, n_j> [y_j != y_i]), unit vectors (HOC, iamcl2r's authors).

    Embeddings of the own class, the image's own too, count exp(0) each, as in the public code; so a batch of a single
    class has log B in place of the second part.

    Args:
        new: (B, D).
        old: (B, D), of the same images.
        labels: (B,).
        scale: s.
    """
    similarity = scale * cosines(old, new)
    others = similarity * (labels[:, None] != labels)
    return (others.logsumexp(1) - similarity.diagonal()).mean()


def places(known: Tensor, taken: int) -> Tensor:
    """The vertex of each class: the old model's for those that it has seen, the next free ones for the others, (C,).

    Args:
        known: (C,) index of each class in the old classifier, -1 if the old model has not seen it.
        taken: how many classes the old classifier has.
    """
    return torch.where(known >= 0, known, taken - 1 + (known < 0).cumsum(0))


class DSimplex(Joint):
    """CoReS' d-Simplex (arXiv 2111.07632) with HOC's alignment: (1 - weight) * CE(V z, y) + weight * HOC.

    V are vertices of a regular simplex in D_new dimensions, D_new + 1 of them preallocated, one for each class. In
    CoReS all generations are trained on the same V: so they are with `shared`, for an old model with `simplex: true`.
    A class that the old model has not seen takes the next vertex after its own, in the open-class setting all do.
    Otherwise the old model was trained without, and V is turned onto the old class means first (orthogonal
    Procrustes, ours), which gives both generations the same directions as far as a simplex can.

    HOC's authors (arXiv 2405.02581, iamcl2r's hoc.py) fine-tune a model pretrained on the simplex, at a small learning
    rate, with a weight of 0.9; from scratch and against a weaker old model that weight holds the new one at its level.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model, of at least as many dimensions as classes less one.
        weight: of the alignment, 0 to 1; 0.9 in the public code of HOC, 0 is CoReS.
        shared: the old model was trained on the same simplex; each class keeps its vertex.

    Raises:
        InputError: a weight outside 0 to 1; more classes than vertices, or with `shared` an old model that was not
            trained on this simplex (in `check`).
    """

    needs_with: ClassVar[dict[str, str]] = {"shared": "old classifier"}
    vertices: Tensor

    def __init__(self, old: Embedder, new: Embedder, weight: float = 0.1, shared: bool = False) -> None:
        super().__init__(old, new)
        if not 0 <= weight <= 1:
            raise InputError(f"weight: {weight}, expected 0 to 1")
        self.weight, self.shared = weight, shared

    def check(self, images: int, known: Sequence[int]) -> None:
        if self.shared:
            self.same_vertices(torch.tensor(known))
        else:
            vertices_for(len(known), self.new.project.out_features, "new.model.embed_dim")

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        self.classifier.requires_grad_(False)
        found = self.same_vertices(teacher.known) if self.shared else self.turned_vertices(teacher)
        self.register_buffer("vertices", found, persistent=False)

    def turned_vertices(self, teacher: Teacher) -> Tensor:
        """The simplex turned onto the old class means, (C, D_new)."""
        dim = self.new.project.out_features
        return turned(vertices_for(len(teacher.known), dim, "new.model.embed_dim"), resized(teacher.means(), dim))

    def same_vertices(self, known: Tensor) -> Tensor:
        """Those that the old model was trained on, and the next ones for classes that it has not seen, (C, D_new).

        Args:
            known: as of `Teacher`.
        """
        dim, weight = self.new.project.out_features, self.old_classifier().linear.weight
        if weight.shape[1] != dim:
            raise InputError(
                f"new.model.embed_dim: {dim}, expected the old model's {weight.shape[1]}, as for one simplex"
            )
        mine = places(known, len(weight))
        rows = vertices_for(max(int(mine.max()) + 1, len(weight)), dim, "new.model.embed_dim")
        if not torch.allclose(weight.cpu(), rows[: len(weight)], atol=1e-4):
            raise InputError("old.model.simplex: false, expected true, as shared: true is for one simplex")
        return rows.to(weight.device)[mine]

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        alignment = higher_order_loss(self.compatible(new), old, labels)
        logits = (self.classifier.scale or 1.0) * new @ self.vertices.T
        return {
            "classification": (1 - self.weight) * self.cross_entropy(logits, labels),
            "alignment": self.weight * alignment,
        }
