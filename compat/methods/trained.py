"""The base class of methods trained by gradient: an upgrade that is a `LightningModule`."""

from __future__ import annotations

from pytorch_lightning import LightningModule

from compat.methods.upgrade import Upgrade
from compat.models import Embedder


class Trained(Upgrade, LightningModule):
    """A method that Lightning trains; checkpoints hold its learned state without the frozen models.

    Args:
        old: the old model, frozen.
        new: the new model.
    """

    def __init__(self, old: Embedder, new: Embedder) -> None:
        super().__init__(old, new)
        self.strict_loading = False

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["state_dict"] = self.heads()
