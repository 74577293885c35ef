"""Reverse query transform: one pass of the new model serves both parts of the gallery."""

from __future__ import annotations

from typing import ClassVar

import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn

from compat.batch import Pair
from compat.errors import InputError, at_least_one, not_negative, positive
from compat.losses import Mode, Reduction, alignment_loss, metric_compatible_loss
from compat.methods.learned import Learned, check_negatives
from compat.methods.upgrade import Fit
from compat.models import Embedder, ResidualHead, head
from compat.needs import Given


class ReverseQuery(Learned):
    """psi maps the new model's query into the old space (arXiv 2301.03767).

    Loss: L_RQT + mcl_weight * L_MCL, the second only if `mcl` names a mode; the first needs no label. With `rho`, the
    new embedding becomes rho(phi_new(x)) for queries, for backfilled items and as psi's input. Without it only psi
    learns, and the new space is unchanged.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        blocks: of psi and of rho, 1 to 5.
        hidden: width of psi and rho; default max(2048, 4 * D_new).
        rho: learn a residual embedding on top of the new model.
        mcl: mode of the metric-compatible contrastive loss; none trains the alignment alone.
        mcl_weight: lambda.
        temperature: of the contrastive loss.
        reduction: where the loss averages or sums an anchor's positives, see `metric_compatible_loss`.
        k_pos: hardest positives kept per anchor and system; none keeps all.
        k_neg: hardest negatives kept per anchor and system; none keeps all.
        self_positive: an image is one of its own positives in the old space.
        normalize: losses compare directions, as cosine retrieval does; false suits l2 retrieval.
        warmup: share of the steps in which the learning rate rises, before its cosine.
        optimizer: from parameters to an optimizer; its learning rate is the peak (weight decay 2**-15 as in FCT).

    Raises:
        InputError: mode "new_only" without rho, as nothing would learn from it; a number out of range; in `learn`: a
            contrastive loss on training images of a single class.
    """

    needs: ClassVar[tuple[str, ...]] = ("training embeddings", "labels if known", "head training")
    needs_with: ClassVar[dict[str, str]] = {"mcl": "training labels"}

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        blocks: int = 3,
        hidden: int | None = None,
        rho: bool = False,
        mcl: Mode | None = None,
        mcl_weight: float = 1.0,
        temperature: float = 0.1,
        reduction: Reduction = "outside",
        k_pos: int | None = None,
        k_neg: int | None = None,
        self_positive: bool = True,
        normalize: bool = True,
        warmup: float = 0.1,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=3.0517578125e-05),
    ) -> None:
        super().__init__(old, new, warmup, optimizer)
        if mcl == "new_only" and not rho:
            raise InputError("mcl: new_only without rho, expected rho: true (nothing else learns from the new space)")
        positive(temperature=temperature)
        not_negative(mcl_weight=mcl_weight)
        at_least_one(k_pos=k_pos, k_neg=k_neg, hidden=hidden)
        dim = new.project.out_features
        self.psi = head(dim, old.project.out_features, blocks, hidden)
        self.rho = ResidualHead(dim, blocks, hidden) if rho else nn.Identity()
        self.mcl, self.mcl_weight = mcl, mcl_weight
        self.temperature, self.reduction, self.normalize = temperature, reduction, normalize
        self.k_pos, self.k_neg, self.self_positive = k_pos, k_neg, self_positive

    def learn(self, given: Given, fit: Fit) -> None:
        if self.mcl is not None:
            check_negatives(given, "mcl")
        super().learn(given, fit)

    def query(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return super().query(old, self.rho(new))

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return self.psi(query_new)

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return old, self.rho(new)

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        transformed, new = self.query(batch.old, batch.new)
        terms = {"alignment": alignment_loss(transformed, batch.old, self.normalize)}
        if self.mcl is not None:
            terms["mcl"] = self.mcl_weight * metric_compatible_loss(
                transformed,
                batch.old,
                new,
                batch.label,
                mode=self.mcl,
                temperature=self.temperature,
                reduction=self.reduction,
                k_pos=self.k_pos,
                k_neg=self.k_neg,
                self_positive=self.self_positive,
                normalize=self.normalize,
            )
        return terms
