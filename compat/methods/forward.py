"""Transform the old gallery forward to a learned new embedding, trained so that their distances are comparable."""

from __future__ import annotations

import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor

from compat.batch import Pair
from compat.errors import at_least_one, not_negative, positive
from compat.losses import alignment_loss, metric_compatible_loss
from compat.methods.learned import Learned, check_negatives
from compat.methods.upgrade import Fit
from compat.models import Embedder, ResidualHead, head
from compat.needs import Given


class ForwardContrast(Learned):
    """Ours: rho and the contrastive loss of arXiv 2301.03767, with a forward transform h in place of psi.

    Queries and backfilled items are rho(z). Items not yet backfilled are h(o), rewritten when the backfill starts as in
    FCT (arXiv 2112.02805), so one query searches one index. Loss: mean |h(o) - rho(z)|^2 of unit vectors + mcl_weight *
    `metric_compatible_loss`, whose first system has queries rho(z) and items h(o).

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        blocks: of h and of rho, 1 to 5.
        hidden: width of h and rho; default max(2048, 4 * D).
        mcl_weight: weight of the contrastive loss.
        temperature: of the contrastive loss.
        k_neg: hardest negatives kept per anchor and system; none keeps all.
        warmup: share of the steps in which the learning rate rises, before its cosine.
        optimizer: from parameters to an optimizer; its learning rate is the peak (weight decay 2**-15 as in FCT).

    Raises:
        InputError: a number out of range; in `learn`: training images of a single class.
    """

    transforms_gallery = True

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        blocks: int = 3,
        hidden: int | None = None,
        mcl_weight: float = 1.0,
        temperature: float = 0.2,
        k_neg: int | None = None,
        warmup: float = 0.1,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=3.0517578125e-05),
    ) -> None:
        super().__init__(old, new, warmup, optimizer)
        positive(temperature=temperature)
        not_negative(mcl_weight=mcl_weight)
        at_least_one(k_neg=k_neg, hidden=hidden)
        dim = new.project.out_features
        self.ahead = head(old.project.out_features, dim, blocks, hidden)
        self.rho = ResidualHead(dim, blocks, hidden)
        self.mcl_weight, self.temperature, self.k_neg = mcl_weight, temperature, k_neg

    def learn(self, given: Given, fit: Fit) -> None:
        check_negatives(given, "mcl")
        super().learn(given, fit)

    def query(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        query_new = self.rho(new)
        return query_new, query_new

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return query_new

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return self.ahead(old), self.rho(new)

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        ahead, ours = self.gallery(batch.old, batch.new)
        contrast = metric_compatible_loss(
            ours, ahead, ours, batch.label, temperature=self.temperature, k_neg=self.k_neg
        )
        return {"alignment": alignment_loss(ahead, ours), "mcl": self.mcl_weight * contrast}
