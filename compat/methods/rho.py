"""A labelled head on frozen models: what class labels are worth with or without an upgrade.

Controls for methods that learn rho together with their compatibility (`ForwardContrast`, `ReverseQuery`): the same head
and the same loss, on each model alone.
"""

from __future__ import annotations

import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor

from compat.batch import Pair
from compat.errors import at_least_one, positive
from compat.losses import metric_compatible_loss
from compat.methods.learned import Learned, check_negatives
from compat.methods.upgrade import Fit
from compat.models import Embedder, ResidualHead
from compat.needs import Given


class Rho(Learned):
    """rho on top of the new model, trained by supervised contrast alone; the old system stays as it is.

    Loss: `metric_compatible_loss` in mode "new_only" (arXiv 2301.03767 without the old system's term). It knows nothing
    of compatibility. Other methods map onto this end by `onto:` in a config.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        blocks: of rho, 1 to 5.
        hidden: width of rho; default max(2048, 4 * D).
        temperature: of the contrastive loss.
        k_neg: hardest negatives kept per anchor; none keeps all.
        warmup: share of the steps in which the learning rate rises, before its cosine.
        optimizer: from parameters to an optimizer; its learning rate is the peak (weight decay 2**-15 as in FCT).

    Raises:
        InputError: a number out of range; in `learn`: training images of a single class.
    """

    encoder_passes = 2

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        blocks: int = 3,
        hidden: int | None = None,
        temperature: float = 0.2,
        k_neg: int | None = None,
        warmup: float = 0.1,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=3.0517578125e-05),
    ) -> None:
        super().__init__(old, new, warmup, optimizer)
        positive(temperature=temperature)
        at_least_one(k_neg=k_neg, hidden=hidden)
        self.temperature, self.k_neg = temperature, k_neg
        self.build(blocks, hidden)

    def build(self, blocks: int, hidden: int | None) -> None:
        """Add the heads."""
        self.rho = ResidualHead(self.new.project.out_features, blocks, hidden)

    def learn(self, given: Given, fit: Fit) -> None:
        check_negatives(given, "rho")
        super().learn(given, fit)

    def query(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return self.gallery(old, new)

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return old, self.rho(new)

    def contrast(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Compute the supervised contrastive loss of embeddings (B, D)."""
        return metric_compatible_loss(
            rows, rows, rows, labels, mode="new_only", temperature=self.temperature, k_neg=self.k_neg
        )

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        return {"contrast": self.contrast(self.rho(batch.new), batch.label)}


class RhoBoth(Rho):
    """A head on each model, trained apart: two independent systems that both know the labels.

    The sum of two losses without a common parameter; the new model's head is that of `Rho` to the last digit. The old
    items are rewritten by the old model's head when the backfill starts.
    """

    transforms_gallery = True

    def build(self, blocks: int, hidden: int | None) -> None:
        super().build(blocks, hidden)
        self.rho_old = ResidualHead(self.old.project.out_features, blocks, hidden)

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return self.rho_old(old), self.rho(new)

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return self.rho_old(old)

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        return {**super().terms(batch), "old": self.contrast(self.rho_old(batch.old), batch.label)}


class RhoOld(Rho):
    """A head on the old model and no upgrade: queries and items, "backfilled" ones too, are rho(o).

    Its curve is flat. It tells how much of a method's gain any labelled head has without a new model.
    """

    encoder_passes = 1
    transforms_gallery = True

    def build(self, blocks: int, hidden: int | None) -> None:
        self.rho = ResidualHead(self.old.project.out_features, blocks, hidden)

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.rho(old)
        return rows, rows

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return query_new

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        return {"contrast": self.contrast(self.rho(batch.old), batch.label)}
