"""The base class of all methods, and the baseline: two independent systems whose results are merged by distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compat.errors import InputError
from compat.models import Classifier, Embedder
from compat.needs import Given

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule

ROWS = 4096  # passed to a method at a time
Fit: TypeAlias = "Callable[[LightningModule], None]"
Transform: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def needed(embedder: Embedder, part: str, method: str) -> Classifier:
    """Return the classifier an embedder was trained with.

    Raises:
        InputError: the embedder's weights came without a classifier.
    """
    if embedder.classifier is None:
        raise InputError(f"{part}.checkpoint: weights without a classifier, expected one, as {method} needs it")
    return embedder.classifier


def resized(rows: Tensor, dim: int) -> Tensor:
    """Pad rows with zeros to `dim` columns, or cut them: (B, D) -> (B, dim)."""
    return F.pad(rows, (0, max(dim - rows.shape[1], 0)))[:, :dim]


class Upgrade(nn.Module):
    """Frozen old and new embedders. Used as it is, it trains nothing: distance rank merge (arXiv 2301.03767).

    A method computes the four matrices of `compat.Embeddings` by overriding `query_for_old`, `query` and `gallery`. A
    method that learns overrides `learn` and declares its inputs in `needs`. One that trains by gradient extends
    `compat.methods.Trained`, a `LightningModule`; all others work without Lightning.

    Args:
        old: the old model.
        new: the new model.

    Attributes:
        encoder_passes: forward passes of an embedder per query during the backfill.
        transforms_gallery: whether all old items are rewritten, transformed, when the backfill starts.
        needs: inputs of `learn`, see `compat.needs`. Class attributes are literals: a plan reads them from the source.
        needs_with: argument -> an additional need if that argument is given.
        estimates: whether `uncertainty` is defined.
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

    def query(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the queries for old items and for backfilled items from phi_old(q) and phi_new(q)."""
        return self.query_for_old(old, new), new

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        """Compute the query for items not yet backfilled.

        A later upgrade that starts before this one has ended passes its own query for this upgrade's new space.

        Args:
            old: phi_old(q), (B, D_old).
            query_new: the query for backfilled items, (B, D).

        Returns:
            (B, D'), in the space of old items.
        """
        return old

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        """Compute an item before and after its backfill from phi_old(g) and phi_new(g)."""
        return old, new

    def learn(self, given: Given, fit: Fit) -> None:
        """Learn the method's parameters, if it has any.

        Args:
            given: the inputs declared in `needs`.
            fit: trains a `LightningModule`: a head on training pairs ("head training"), or a whole new model on its
                images ("new model training").
        """

    def check(self, images: int, known: Sequence[int]) -> None:
        """Refuse training data the method cannot learn from; called before anything is trained.

        Args:
            images: number of training images.
            known: each class's index in the old classifier, -1 if the old model has not seen the class.

        Raises:
            InputError: the data do not suffice. Its field is an argument's name, or a path in the config with dots.
        """

    def restore(self, state: dict[str, Tensor]) -> None:
        """Load the learned state that `heads` returned."""
        self.load_state_dict(state, strict=False)

    def uncertainty(self, old: Tensor) -> Tensor:
        """Estimate the uncertainty of old embeddings (B, D_old), (B,).

        Raises:
            InputError: the method estimates none.
        """
        raise InputError(f"uncertainty: {type(self).__name__} says none, expected a method such as FastFill")

    def new_classifier(self) -> Classifier:
        """Return the new model's classifier.

        Raises:
            InputError: the new model's weights came without a classifier.
        """
        return needed(self.new, "new", type(self).__name__)

    def heads(self) -> dict[str, Tensor]:
        """Return the learned state: the state dict without the two frozen models."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith(("old.", "new."))}

    def train(self, mode: bool = True) -> Upgrade:
        """Set the heads to training or evaluation mode; the frozen models stay in evaluation mode."""
        super().train(mode)
        self.old.eval()
        self.new.eval()
        return self


def through(transform: Transform, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """Apply a method's `query` or `gallery` to all rows, (N, D_old) and (N, D_new), some at a time."""
    with torch.inference_mode():
        parts = zip(old.split(ROWS), new.split(ROWS), strict=True)
        before, after = zip(*(transform(*part) for part in parts), strict=True)
    return torch.cat(before), torch.cat(after)
