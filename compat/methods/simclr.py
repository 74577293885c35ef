"""SimCLR: an embedder trained without labels, for side-information."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compat.losses import cosines
from compat.methods.single import SingleModel

if TYPE_CHECKING:
    from compat.data.images import Sample


def nt_xent_loss(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """Compute each view's cross entropy of its image's other view among all other views (arXiv 2002.05709).

    Args:
        first: (B, D), one view of each image.
        second: (B, D), another one.
        temperature: divides the cosines.
    """
    views = torch.cat([first, second])
    logits = (cosines(views, views) / temperature).fill_diagonal_(-torch.inf)
    other = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(logits, other)


class SimCLR(SingleModel):
    """FCT's side-information: SimCLR on the old model's training images, of 128 dimensions there.

    Takes `SingleModel`'s arguments. The loss compares two views of each image behind a projection of two layers, which
    is discarded after the training. Labels are ignored.
    """

    views = 2

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            dim = self.embedder.project.out_features
            self.projection = nn.Sequential(nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
            self.embedder.classifier = None

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        first, second = self.projection(self.embedder(batch.image.flatten(0, 1))).unflatten(0, (-1, 2)).unbind(1)
        loss = nt_xent_loss(first, second)
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, sync_dist=True)
        return loss
