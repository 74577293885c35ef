"""BiCT: transform the old gallery forward to a new model that was trained to be backward-compatible."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor

from compat.batch import Pair
from compat.methods.fct import FCT
from compat.models import Embedder


class BiCT(FCT):
    """BiCT ("Bidirectional compatible training", arXiv 2204.13919); no public code exists.

    `BCT` first trains a new model, which is this method's `new`. A transform T without side-information then maps old
    embeddings into its space: |T(o) - z|^2 + CE(W_n T(o), y). The form of the second loss and T's network (FCT's) are
    our choice. The abstract says the weight of backward compatibility matters; it is BCT's `weight`, and at 0.1 the
    model favours the new space.

    Args:
        old: the old model, frozen.
        new: the new model, frozen; trained by `BCT`.
        hidden: width of T's mixer.
        normalize: compare directions, as cosine retrieval does.
        warmup: share of the steps in which the learning rate rises, before its cosine.
        optimizer: from parameters to an optimizer.
    """

    needs: ClassVar[tuple[str, ...]] = ("training embeddings", "training labels", "head training", "new classifier")
    needs_with: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        hidden: int = 2048,
        normalize: bool = True,
        warmup: float = 0.1,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=3.0517578125e-05),
    ) -> None:
        super().__init__(old, new, 0, hidden, normalize, warmup, optimizer)

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        transformed = self.transform(batch.old)
        return {
            **super().terms(batch),
            "classification": F.cross_entropy(self.new_classifier()(transformed), batch.label),
        }
