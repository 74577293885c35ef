"""What every method shares, and itself the baseline: distance rank merge of two independent systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor

from compat.batch import Pair
from compat.data import Sample
from compat.errors import InputError
from compat.models import Classifier, Embedder
from compat.needs import Given

ROWS = 4096  # that a method is given at a time
Fit: TypeAlias = Callable[[LightningModule], None]
Transform: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def needed(embedder: Embedder, part: str, method: str) -> Classifier:
    """The classifier that an embedder was trained with.

    Raises:
        InputError: its weights came without one.
    """
    if embedder.classifier is None:
        raise InputError(f"{part}.checkpoint: weights without a classifier, expected one, as {method} needs it")
    return embedder.classifier


def resized(rows: Tensor, dim: int) -> Tensor:
    """Rows padded with zeros to `dim` columns, or cut to them: (B, D) -> (B, dim)."""
    return F.pad(rows, (0, max(dim - rows.shape[1], 0)))[:, :dim]


class Upgrade(LightningModule):
    """Frozen old and new embedders. Trains nothing: as it stands it is distance rank merge (arXiv 2301.03767).

    A method fills the four matrices of `compat.Embeddings` by overriding `query` and `gallery`; one that learns
    overrides `learn`, and says in `needs` what it looks at. Batches of images are embedded on arrival, so the same
    head trains on cached embeddings or through augmented images.

    Args:
        old: the old model.
        new: the new model.

    Attributes:
        encoder_passes: forward passes of an embedder for each query while the backfilling goes on.
        transforms_gallery: whether all old items are written anew, transformed, when the backfilling starts.
        needs: what `learn` is given, see `compat.needs`; the class attributes are literals, which a plan reads from the
            source.
        needs_with: argument -> what it needs beside that, if the argument is given.
        estimates: whether it says how uncertain it is of each item.
    """

    encoder_passes = 2
    transforms_gallery = False
    needs: ClassVar[tuple[str, ...]] = ()
    needs_with: ClassVar[dict[str, str]] = {}
    estimates = False

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

    def learn(self, given: Given, fit: Fit) -> None:
        """Learn what there is to learn.

        Args:
            given: what was declared in `needs`.
            fit: trains a module: a head on training pairs ("head training"), or a whole
                new model on its images ("new model training").
        """

    def check(self, images: int, known: Sequence[int]) -> None:
        """Refuse training data that it cannot learn from; a run calls it before anything is trained.

        Args:
            images: how many.
            known: of each of their classes the index in the old classifier, -1 if the old model has not seen it.

        Raises:
            InputError: what the method says; its field is an argument's name, or of the config if it has dots.
        """

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up again what was learned, as `heads` gives it."""
        self.load_state_dict(state, strict=False)

    def uncertainty(self, old: Tensor) -> Tensor:
        """How uncertain it is of old embeddings (B, D_old), (B,).

        Raises:
            InputError: it does not say.
        """
        raise InputError(f"uncertainty: {type(self).__name__} says none, expected a method such as FastFill")

    def new_classifier(self) -> Classifier:
        """The new model's own.

        Raises:
            InputError: it has none, as its weights came without.
        """
        return needed(self.new, "new", type(self).__name__)

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


def through(transform: Transform, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """What `query` or `gallery` of a method makes of all rows, (N, D_old) and (N, D_new)."""
    with torch.inference_mode():
        parts = zip(old.split(ROWS), new.split(ROWS), strict=True)
        before, after = zip(*(transform(*part) for part in parts), strict=True)
    return torch.cat(before), torch.cat(after)
