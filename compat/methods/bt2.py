"""BT2: a basis transformation keeps some dimensions in the old space and all of the new model's information."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from compat.errors import InputError, not_negative
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.models import Embedder


class BT2(Joint):
    """BT2 (arXiv 2211.03989), following its public code.

    The projection outputs D_new + D_old values u. h = n(u, first D_new); f = n(Linear(ReLU(u))). v is the `extra` first
    dimensions of f, normalised, followed by P (2 h). The embedding is e = (Q v[: D_old], v[D_old :]) with orthogonal P
    and Q, of extra + D_new dimensions.

    Loss: CE(W h, y) + (1 - cos(h, z*)) + old * (1 - cos(c, o)) + prototypes * CE(mu . n(c), y). c is the first D_old
    dimensions of e, z* the plain new model's embedding, mu the class means of raw old embeddings. In the public code mu
    are means of unit vectors if the old model normalises (`unit_means`).

    Args:
        old: the old model, frozen.
        new: the architecture of the new model; its projection is replaced by one of D_new + D_old dimensions.
        extra: dimensions beside those of the new model.
        old_weight: weight of the cosine to the old embedding; 5 in the public code.
        prototype_weight: weight of the classification by old class means; 10 in the public code.
        unit_means: mu are means of unit vectors.

    Raises:
        InputError: a negative weight; extra dimensions below D_old - D_new or above D_old.
    """

    needs: ClassVar[tuple[str, ...]] = (
        "training embeddings", "training labels", "old classes", "new model training", "plain new model"
    )  # fmt: skip
    means: Tensor
    target: Tensor

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        extra: int = 32,
        old_weight: float = 5.0,
        prototype_weight: float = 10.0,
        unit_means: bool = False,
    ) -> None:
        super().__init__(old, new)
        not_negative(old_weight=old_weight, prototype_weight=prototype_weight)
        self.unit_means = unit_means
        self.dim, self.old_dim, self.extra = new.project.out_features, old.project.out_features, extra
        if not max(self.old_dim - self.dim, 0) <= extra <= self.old_dim:
            least = max(self.old_dim - self.dim, 0)
            raise InputError(f"extra: {extra}, expected {least} to {self.old_dim}, so that the old dimensions fit")
        self.new.reproject(self.dim + self.old_dim)
        self.weights = (old_weight, prototype_weight)
        self.more = nn.Linear(self.dim + self.old_dim, self.old_dim)
        self.inner = orthogonal(nn.Linear(self.dim, self.dim, bias=False))
        self.outer = orthogonal(nn.Linear(self.old_dim, self.old_dim, bias=False))

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        self.classifier.requires_grad_(False)
        self.head = nn.Linear(self.dim, len(teacher.known))
        self.register_buffer("means", teacher.means(self.unit_means), persistent=False)
        assert teacher.new is not None
        self.register_buffer("target", teacher.new, persistent=False)

    def serve(self, new: Tensor) -> Tensor:
        """Map the projection's values u (B, D_new + D_old) to e, (B, extra + D_new)."""
        h = F.normalize(new[:, : self.dim], dim=1)
        f = self.more(new.relu())[:, : self.extra]
        v = torch.cat([F.normalize(f, dim=1), self.inner(2 * h)], 1)
        return torch.cat([self.outer(v[:, : self.old_dim]), v[:, self.old_dim :]], 1)

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        h = F.normalize(new[:, : self.dim], dim=1)
        compatible = self.compatible(self.serve(new))
        to_old, to_prototypes = self.weights
        prototypes = F.normalize(compatible, dim=1) @ self.means.T
        return {
            "classification": self.cross_entropy(self.head(h), labels),
            "new": (1 - F.cosine_similarity(h, self.target[rows])).mean(),
            "old": to_old * (1 - F.cosine_similarity(compatible, old)).mean(),
            "prototypes": to_prototypes * self.cross_entropy(prototypes, labels),
        }
