"""The base class of heads learned by gradient on top of two frozen models."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from compat.batch import Pair
from compat.errors import InputError
from compat.methods.trained import Trained
from compat.methods.upgrade import Fit
from compat.models import Embedder
from compat.needs import Given
from compat.optim import warmup_cosine

if TYPE_CHECKING:
    from compat.data.images import Sample


def check_negatives(given: Given, what: str) -> None:
    """Refuse training labels of a single class, for a loss that needs negatives.

    Raises:
        InputError: there is one class.
    """
    labels = given["training labels"]
    if (labels == labels[:1]).all():
        raise InputError(f"data: training images of a single class, expected at least 2, as {what} needs negatives")


class Learned(Trained):
    """Heads trained with warm-up and cosine, one encoder pass; batch norm is frozen in the second half (FCT).

    A method returns its losses by name from `terms`; their sum is minimised. Batches hold pairs of one class. A head
    whose losses ignore labels declares "labels if known" in place of "training labels": without labels each is -1, and
    its batches are in random order.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        warmup: share of the steps in which the learning rate rises, before its cosine.
        optimizer: from parameters to an optimizer; its learning rate is the peak.

    Raises:
        InputError: a warm-up outside (0, 1).
    """

    encoder_passes = 1
    needs: ClassVar[tuple[str, ...]] = ("training embeddings", "training labels", "head training")

    def __init__(self, old: Embedder, new: Embedder, warmup: float, optimizer: OptimizerCallable) -> None:
        super().__init__(old, new)
        if not 0 < warmup < 1:
            raise InputError(f"warmup: {warmup}, expected a share in (0, 1)")
        self.warmup, self.optimizer = warmup, optimizer

    def learn(self, given: Given, fit: Fit) -> None:
        fit(self)

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        """Compute the losses of a batch by name."""
        raise NotImplementedError

    def on_after_batch_transfer(self, batch: Sample | Pair, dataloader_idx: int) -> Pair:
        """Embed a batch of images, so that the same head trains on cached embeddings or through augmented images."""
        if isinstance(batch, Pair):
            return batch
        with torch.no_grad():
            return Pair(self.old(batch.image), self.new(batch.image), batch.label)

    def on_train_epoch_start(self) -> None:
        if 2 * self.global_step >= self.trainer.estimated_stepping_batches:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm1d):
                    module.eval()

    def training_step(self, batch: Pair, batch_idx: int) -> Tensor:
        terms = self.terms(batch)
        loss = torch.stack(list(terms.values())).sum()
        figures = {f"train/{name}": value for name, value in terms.items()}
        self.log_dict({**figures, "train/loss": loss}, prog_bar=False, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        steps = int(self.trainer.estimated_stepping_batches)
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return warmup_cosine(self.optimizer(learning), steps, self.warmup)
