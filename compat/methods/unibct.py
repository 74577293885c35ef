"""UniBCT: prototypes of the old space, refined by its structure, judge the new embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from compat.errors import InputError, angle, positive
from compat.losses import arcface_logits
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.models import Embedder


def refined_prototype(old: Tensor, new: Tensor, share: float = 0.9, temperature: float = 0.05) -> Tensor:
    """Average one class's old embeddings after diffusion over the new model's similarities (MixBCT's UniBCT).

    V'_o = (1 - a)(I - a S)^-1 V_o with S = softmax(V_n V_n^T / t), its diagonal masked: an old embedding moves towards
    those of images the new model finds similar. For a single image, S is the identity.

    The softmax is over rows here. In the public code it is over columns (`dim=0`), which then sum to 1: V'_o keeps the
    sum of V_o, and the refined prototype is the plain mean. Its V_n are not unit vectors either.

    Args:
        old: V_o, (N, D_old) of one class, raw.
        new: V_n, (N, D_new), unit vectors.
        share: a.
        temperature: t.

    Returns:
        (D_old,), not normalised.
    """
    if len(old) == 1:
        return old[0]
    similarity = (new @ new.T / temperature).fill_diagonal_(-torch.inf).softmax(1)
    system = torch.eye(len(old), device=old.device) - share * similarity
    return ((1 - share) * torch.linalg.solve(system, old)).mean(0)


class UniBCT(Joint):
    """UniBCT (arXiv 2203.01583), following MixBCT's code: ArcFace, later with CE of n(z) . p_c.

    The second loss joins after a third of the epochs. The prototypes p_c are class means of raw old embeddings, whose
    length scales these logits. They are refined at one and at two thirds of the epochs (10 and 20 of 35 there) with
    each image's latest new embedding; the authors extract all images anew. See `refined_prototype` for the differences.
    In the authors' code both models end in batch normalisation (`final_norm` here).

    With `prototype_scale` the second loss is ArcFace of cosines with p_c, as in AdvBCT's code (30, margin 0.3). There
    it covers old classes from the first epoch; here all classes after a third of the epochs.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        scale: of ArcFace.
        margin: of ArcFace, in radians.
        share: of the diffusion, see `refined_prototype`.
        temperature: of the diffusion.
        prototype_scale: of cosines with the prototypes; none: n(z) . p_c.
        prototype_margin: of these, in radians; used with `prototype_scale` only.
    """

    prototypes: Tensor
    labels: Tensor
    seen: Tensor

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        scale: float = 64.0,
        margin: float = 0.5,
        share: float = 0.9,
        temperature: float = 0.05,
        prototype_scale: float | None = None,
        prototype_margin: float = 0.0,
    ) -> None:
        super().__init__(old, new)
        positive(scale=scale, temperature=temperature, prototype_scale=prototype_scale)
        angle(margin=margin, prototype_margin=prototype_margin)
        if not 0 <= share < 1:
            raise InputError(f"share: {share}, expected a share in [0, 1)")
        self.scale, self.margin, self.share, self.temperature = scale, margin, share, temperature
        self.prototype_scale, self.prototype_margin = prototype_scale, prototype_margin

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        self.classifier.without_bias()
        self.register_buffer("prototypes", teacher.means())
        self.register_buffer("labels", teacher.labels, persistent=False)
        self.register_buffer("seen", torch.zeros(len(teacher.labels), self.new.project.out_features))

    def on_train_epoch_start(self) -> None:
        if self.current_epoch in (self.epoch_at(1 / 3), self.epoch_at(2 / 3)):
            self.refine()

    def epoch_at(self, share: float) -> int:
        """Return the epoch that begins at a share of the training."""
        return round(share * (self.trainer.max_epochs or 0))

    def refine(self) -> None:
        """Refine all prototypes with the latest embeddings."""
        for label in range(len(self.prototypes)):
            rows = self.labels == label
            if rows.any():
                new = F.normalize(self.seen[rows], dim=1)
                self.prototypes[label] = refined_prototype(self.old_space[rows], new, self.share, self.temperature)

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        self.seen[rows] = new.detach()
        logits = arcface_logits(new, self.classifier.linear.weight, labels, self.scale, self.margin)
        terms = {"classification": self.cross_entropy(logits, labels)}
        if self.current_epoch >= self.epoch_at(1 / 3):
            terms["prototypes"] = self.cross_entropy(self.prototype_logits(self.compatible(new), labels), labels)
        return terms

    def prototype_logits(self, compatible: Tensor, labels: Tensor) -> Tensor:
        """Compute logits (B, C) of (B, D_old), (B,)."""
        if self.prototype_scale is None:
            return F.normalize(compatible, dim=1) @ self.prototypes.T
        return arcface_logits(compatible, self.prototypes, labels, self.prototype_scale, self.prototype_margin)
