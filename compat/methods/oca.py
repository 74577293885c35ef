"""OCA: the new space extends the old one by some dimensions and classifies behind an orthogonal layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from compat.errors import not_negative, positive
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.models import Embedder


def cosine_to_means(embeddings: Tensor, means: Tensor, labels: Tensor) -> Tensor:
    """Average 1 - cos(z_i, mu of its class): (B, D), (C, D), (B,) -> a scalar."""
    return (1 - F.cosine_similarity(embeddings, means[labels])).mean()


class OCA(Joint):
    """Orthogonal compatible aligned features (Bowen Zhang et al.): unit vectors f of D_old + extra dimensions.

    Loss: classification * CE(W O f, y) + prototypes * CE(mu . n(c), y) + alignment * (1 - cos(mu_y, c)). O is an
    orthogonal layer, c the first D_old dimensions of f, mu the class means of old embeddings. Queries and items are f.

    The weights 5, 10 and 5 are those in effect in the public code (z3n0e/OCA), which ignores its config's. Its old
    embeddings are unit vectors, so |mu| <= 1 (`unit_means`); here mu are means of raw embeddings, whose length scales
    the second term's logits. Its O has a bias; ours has none, so f and O f have equal cosines. It does not say which of
    the two is served.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model; its projection is replaced by one of D_old + extra dimensions.
        extra: dimensions that need not be compatible.
        classification: weight of the first term.
        prototypes: weight of the second.
        alignment: weight of the third.
        scale: of the cosines W O f; unscaled logits of unit vectors are too flat to learn from.
        unit_means: mu are means of unit vectors.
    """

    means: Tensor

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        extra: int = 32,
        classification: float = 5.0,
        prototypes: float = 10.0,
        alignment: float = 5.0,
        scale: float = 16.0,
        unit_means: bool = False,
    ) -> None:
        super().__init__(old, new)
        not_negative(extra=extra, classification=classification, prototypes=prototypes, alignment=alignment)
        positive(scale=scale)
        self.unit_means = unit_means
        dim = old.project.out_features + extra
        self.new.reproject(dim)
        self.weights, self.scale = (classification, prototypes, alignment), scale

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        self.classifier.without_bias()
        dim = self.new.project.out_features
        self.rotation = orthogonal(nn.Linear(dim, dim, bias=False))
        self.register_buffer("means", teacher.means(self.unit_means), persistent=False)

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        unit = F.normalize(new, dim=1)
        compatible = F.normalize(self.compatible(unit), dim=1)
        logits = self.scale * F.linear(self.rotation(unit), F.normalize(self.classifier.linear.weight, dim=1))
        classification, prototypes, alignment = self.weights
        return {
            "classification": classification * self.cross_entropy(logits, labels),
            "prototypes": prototypes * self.cross_entropy(compatible @ self.means.T, labels),
            "alignment": alignment * cosine_to_means(compatible, self.means, labels),
        }
