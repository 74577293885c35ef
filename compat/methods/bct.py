"""Backward-compatible training: the old classifier also judges the new embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from compat.errors import InputError, not_negative
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.models import Embedder


def extended_classifier(weight: Tensor, bias: Tensor | None, teacher: Teacher) -> tuple[Tensor, Tensor]:
    """Extend the old classifier to all classes; a class it lacks gets its mean old embedding.

    openBCT's author (issue 1) concatenates raw means. Rows of a softmax classifier are several times shorter than
    embeddings, so the added classes would always win. Here added rows get the mean length and the mean bias of the
    classifier's own rows.

    Args:
        weight: (C_old, D_old).
        bias: (C_old,), or None.
        teacher: with C classes.

    Returns:
        Weight (C, D_old) and bias (C,).
    """
    offset = weight.new_zeros(len(weight)) if bias is None else bias
    prototypes = F.normalize(teacher.means(), dim=1) * weight.norm(dim=1).mean()
    own = teacher.known >= 0
    rows = torch.where(own[:, None], weight[teacher.known.clamp_min(0)], prototypes)
    return rows, torch.where(own, offset[teacher.known.clamp_min(0)], offset.mean())


class BCT(Joint):
    """BCT: CE(W_n z, y) + weight * CE(W_o z, y), W_o the frozen old classifier (Shen et al., arXiv 2003.11942).

    With `classes: all`, `extended_classifier` extends W_o to classes the old model has not seen; in the open-class
    setting all rows are means. With `classes: old`, the second loss averages over images of old classes only, as in
    AdvBCT's code (0 for a batch without any). If the old embedding is normalised, W_o z are scaled cosines as in the
    old model's own training.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        weight: lambda of the influence loss; 1 in openBCT.
        classes: whose images the old classifier judges.

    Raises:
        InputError: a negative weight; in `check`: an old model without a classifier, or `classes: old` if the old model
            has seen none of the new model's classes.
    """

    needs: ClassVar[tuple[str, ...]] = (
        "training embeddings", "training labels", "old classes", "new model training", "old classifier"
    )  # fmt: skip
    old_weight: Tensor
    old_bias: Tensor
    targets: Tensor

    def __init__(
        self, old: Embedder, new: Embedder, weight: float = 1.0, classes: Literal["all", "old"] = "all"
    ) -> None:
        super().__init__(old, new)
        not_negative(weight=weight)
        self.weight, self.classes = weight, classes

    def check(self, images: int, known: Sequence[int]) -> None:
        self.old_classifier()
        if self.classes == "old" and max(known) < 0:
            raise InputError("classes: old, but the old model has seen none of the new one's, expected all")

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        self.check(len(teacher.labels), teacher.known.tolist())
        super().prepare(recipe, teacher)
        layer = self.old_classifier().linear
        weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
        targets = teacher.known
        if self.classes == "all":
            weight, bias = extended_classifier(weight, bias, teacher)
            targets = torch.arange(len(weight), device=weight.device)
        self.register_buffer("old_weight", weight, persistent=False)
        self.register_buffer("old_bias", bias, persistent=False)
        self.register_buffer("targets", targets, persistent=False)

    def old_logits(self, new: Tensor) -> Tensor:
        """Apply the old classifier, extended or not, to new embeddings: (B, C or C_old)."""
        compatible, scale = self.compatible(new), self.old_classifier().scale
        if scale is None:
            return F.linear(compatible, self.old_weight, self.old_bias)
        return scale * F.linear(F.normalize(compatible, dim=1), F.normalize(self.old_weight, dim=1))

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        targets = self.targets[labels]
        judged = targets >= 0
        logits = self.old_logits(new[judged])
        influence = self.cross_entropy(logits, targets[judged]) if judged.any() else logits.sum()
        return {
            "classification": self.cross_entropy(self.classifier(new), labels),
            "influence": self.weight * influence,
        }
