"""Backward-compatible training: the old classifier judges the new embedding too."""

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
    """The old classifier for all classes: its own rows, and the mean old embedding for each class that it lacks.

    openBCT's author (issue 1) concatenates means as they are; next to a softmax classifier, whose rows are several
    times shorter than embeddings, those classes would always win. Here the means get the mean length of its rows
    and its mean bias.

    Args:
        weight: (C_old, D_old).
        bias: (C_old,), or None.
        teacher: of C classes.

    Returns:
        Weight (C, D_old) and bias (C,).
    """
    offset = weight.new_zeros(len(weight)) if bias is None else bias
    prototypes = F.normalize(teacher.means(), dim=1) * weight.norm(dim=1).mean()
    own = teacher.known >= 0
    rows = torch.where(own[:, None], weight[teacher.known.clamp_min(0)], prototypes)
    return rows, torch.where(own, offset[teacher.known.clamp_min(0)], offset.mean())


class BCT(Joint):
    """BCT: CE(W_n z, y) + weight * CE(W_o z, y), with W_o the frozen old classifier (Shen et al., arXiv 2003.11942).

    W_o is extended to classes that the old model has not seen, see `extended_classifier` (in the open-class setting all
    its rows are means), or the second loss is the mean over the images of old classes alone, as AdvBCT's code has it
    (0 for a batch without any). Where the old embedding is normalised, W_o z are scaled cosines as in its own training.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        weight: lambda of the influence loss; 1 in openBCT.
        classes: whose images the old classifier judges.

    Raises:
        InputError: a negative weight; an old model without a classifier, or old classes alone where the old model has
            seen none of the new one's (in `check`).
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
        """What the old classifier, extended or not, makes of new embeddings, (B, C or C_old)."""
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
