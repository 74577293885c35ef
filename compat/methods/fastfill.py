"""FastFill: a forward transform that learns its own uncertainty, by which the backfill is ordered."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn

from compat.batch import Pair
from compat.errors import not_negative
from compat.methods.fct import FCT, forward_loss
from compat.models import Embedder


def uncertainty_loss(errors: Tensor, log_variance: Tensor) -> Tensor:
    """Compute mean(exp(-s) l / 2 + s / 2) of errors l (B,) and log-variances s (B,), a scalar."""
    return (0.5 * (-log_variance).exp() * errors + 0.5 * log_variance).mean()


class FastFill(FCT):
    """FastFill (Jaeckle et al., arXiv 2303.04766): FCT's transform h, and a log-variance s_i = Linear(h_i).

    Loss: `uncertainty_loss` of l_i = mean (z_i - h_i)^2 + classification * CE(W_n h_i, y_i), W_n the frozen new
    classifier, label smoothing 0.1. Items are backfilled in descending s, which needs no new embedding.

    Differences: theirs has no bias in W_n; ours is the new model's classifier unchanged. With `normalize` the error is
    2 - 2 cos, 0 to 4, and the cross entropy is of raw h; theirs is a mean over dimensions of raw vectors. The two parts
    of l are thus weighted differently, and s is the variance of another quantity. They train h through augmented
    images, drawn anew in each epoch; their published gains of 97 % (105 % with side-information) are with it. Here h is
    trained on cached embeddings of plain images, unless `heads.images` is true.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        side: dimension of the side-information; 0: none.
        hidden: width of the mixer; 2048 in the authors' code.
        normalize: compare directions, as cosine retrieval does.
        classification: weight of the cross entropy.
        warmup: share of the steps in which the learning rate rises, before its cosine.
        optimizer: from parameters to an optimizer; Adam at 5e-4 in the authors' code.
    """

    estimates = True
    needs: ClassVar[tuple[str, ...]] = ("training embeddings", "training labels", "head training", "new classifier")

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        side: int = 0,
        hidden: int = 2048,
        normalize: bool = True,
        classification: float = 1.0,
        warmup: float = 0.1,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=3.0517578125e-05),
    ) -> None:
        super().__init__(old, new, side, hidden, normalize, warmup, optimizer)
        not_negative(classification=classification)
        self.classification = classification
        self.log_variance = nn.Linear(new.project.out_features, 1)

    def uncertainty(self, old: Tensor) -> Tensor:
        """Estimate the log-variance of the transform of old embeddings (B, D_old + side), (B,)."""
        return self.log_variance(self.transform(old)).squeeze(1)

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        transformed = self.transform(batch.old)
        logits = self.new_classifier()(transformed)
        errors = F.cross_entropy(logits, batch.label, reduction="none", label_smoothing=0.1)
        errors = forward_loss(transformed, batch.new, self.normalize) + self.classification * errors
        return {"uncertainty": uncertainty_loss(errors, self.log_variance(transformed).squeeze(1))}
