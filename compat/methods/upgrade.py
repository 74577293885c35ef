"""What every method shares, and itself the baseline: distance rank merge of two independent systems."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from compat.data import Sample
from compat.models import Embedder


class Pair(NamedTuple):
    """A batch as both frozen models see it: phi_old(x) (B, D_old), phi_new(x) (B, D_new), labels (B,)."""

    old: Tensor
    new: Tensor
    label: Tensor


class Upgrade(LightningModule):
    """Frozen old and new embedders. Trains nothing: as it stands it is distance rank merge (arXiv 2301.03767).

    A method fills the four matrices of `compat.Embeddings` by overriding `query` and `gallery`; one that
    learns adds a `training_step(Pair)`. Batches of images are embedded on arrival, so the same method
    trains on cached embeddings or through augmented images.

    Args:
        old: the old model.
        new: the new model.

    Attributes:
        encoder_passes: forward passes of an embedder for each query while the backfilling goes on.
    """

    encoder_passes = 2

    def __init__(self, old: Embedder, new: Embedder) -> None:
        super().__init__()
        self.old = old.requires_grad_(False)
        self.new = new.requires_grad_(False)
        self.strict_loading = False

    def query(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        """(phi_old(q), phi_new(q)) -> the query for the un-backfilled part and the query for the backfilled part."""
        return self.back(old, new), new

    def back(self, old: Tensor, served: Tensor) -> Tensor:
        """The query for the un-backfilled part, from phi_old(q) and from the query for the backfilled part.

        A later upgrade that starts before this one has ended calls it with its own query for this one's new space.
        """
        return old

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        """(phi_old(g), phi_new(g)) -> an item before its backfill and after it."""
        return old, new

    def heads(self) -> dict[str, Tensor]:
        """What the method learned: its state without the two frozen models."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith(("old.", "new."))}

    def on_after_batch_transfer(self, batch: Sample | Pair, dataloader_idx: int) -> Pair:
        if isinstance(batch, Pair):
            return batch
        with torch.no_grad():
            return Pair(self.old(batch.image), self.new(batch.image), batch.label)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["state_dict"] = self.heads()

    def train(self, mode: bool = True) -> Upgrade:
        """Train or evaluate the heads; the frozen models stay in evaluation mode."""
        super().train(mode)
        self.old.eval()
        self.new.eval()
        return self
