"""d-Simplex: a fixed classifier shared by all generations keeps their spaces together."""

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
    """Rotate the simplex (C, D) so that its vertices lie as near as possible to the directions of `means` (C, D)."""
    u, _, v = torch.linalg.svd(vertices.T @ F.normalize(means, dim=1))
    return vertices @ u @ v


def higher_order_loss(new: Tensor, old: Tensor, labels: Tensor, scale: float = 10.0) -> Tensor:
    """Average -s <o_i, n_i> + log sum_j exp(s <o_i, n_j> [y_j != y_i]) of unit vectors (HOC, iamcl2r's authors).

    As in the public code, embeddings of the same class, the image's own included, count exp(0) each; a batch of one
    class therefore has log B as its second part.

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
    """Assign each class a vertex: the old model's if seen, else the next free one, (C,).

    Args:
        known: (C,) index of each class in the old classifier, -1 if the old model has not seen it.
        taken: number of classes of the old classifier.
    """
    return torch.where(known >= 0, known, taken - 1 + (known < 0).cumsum(0))


class DSimplex(Joint):
    """CoReS' d-Simplex (arXiv 2111.07632) with HOC's alignment: (1 - weight) * CE(V z, y) + weight * HOC.

    V are vertices of a regular simplex in D_new dimensions, one per class; D_new + 1 are preallocated. In CoReS all
    generations are trained on the same V: `shared`, with an old model of `simplex: true`. A class the old model has not
    seen takes the next free vertex; in the open-class setting all do. Without `shared`, V is first rotated onto the old
    class means (orthogonal Procrustes, ours), which brings the two generations' directions as near as a simplex allows.

    HOC's authors (arXiv 2405.02581, iamcl2r's hoc.py) fine-tune a model pretrained on the simplex at a small learning
    rate with a weight of 0.9. From scratch and against a weaker old model, that weight keeps the new model at the old
    one's level.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model, with at least as many dimensions as classes less one.
        weight: weight of the alignment, 0 to 1; 0.9 in HOC's public code, 0 is CoReS.
        shared: the old model was trained on the same simplex; each class keeps its vertex.

    Raises:
        InputError: a weight outside 0 to 1; in `check`: more classes than vertices, or with `shared` an old model not
            trained on this simplex.
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
        """Rotate the simplex onto the old class means, (C, D_new)."""
        dim = self.new.project.out_features
        return turned(vertices_for(len(teacher.known), dim, "new.model.embed_dim"), resized(teacher.means(), dim))

    def same_vertices(self, known: Tensor) -> Tensor:
        """Return the old model's vertices, and the next free ones for unseen classes, (C, D_new).

        Args:
            known: as in `Teacher`.
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
