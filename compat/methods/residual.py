"""An affine map plus a small network, from new to old embeddings."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn

from compat.batch import Pair
from compat.errors import at_least_one, not_negative
from compat.methods.affine import ridge
from compat.methods.learned import Learned
from compat.methods.upgrade import Fit
from compat.models import Embedder
from compat.needs import Given


class ResidualMLP(Learned):
    """psi(z) = z W + b + W_2 GELU(z W_1 + b_1) + b_2 (Drift-Adapter), trained on MSE.

    W and b start at `ridge`, W_2 and b_2 at zero (rebasis). The authors stop early on a tenth of the pairs; here the
    budget is that of all heads.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        hidden: width of the network.
        alpha: strength of the ridge penalty.
        warmup: share of the steps in which the learning rate rises, before its cosine.
        optimizer: from parameters to an optimizer.
    """

    needs: ClassVar[tuple[str, ...]] = ("training embeddings", "labels if known", "head training")

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        hidden: int = 256,
        alpha: float = 1e-3,
        warmup: float = 0.1,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=3.0517578125e-05),
    ) -> None:
        super().__init__(old, new, warmup, optimizer)
        not_negative(alpha=alpha)
        at_least_one(hidden=hidden)
        self.alpha = alpha
        new_dim, old_dim = new.project.out_features, old.project.out_features
        self.linear = nn.Linear(new_dim, old_dim)
        self.inner, self.outer = nn.Linear(new_dim, hidden), nn.Linear(hidden, old_dim)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def learn(self, given: Given, fit: Fit) -> None:
        self.solve(given["training embeddings"])
        fit(self)

    def solve(self, pairs: Pair) -> None:
        """Start at ridge regression."""
        weight, bias = ridge(pairs.new, pairs.old, self.alpha)
        self.linear.weight.data, self.linear.bias.data = weight.T.float().contiguous(), bias.float()

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return self.linear(query_new) + self.outer(F.gelu(self.inner(query_new)))

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        return {"error": F.mse_loss(self.query_for_old(batch.old, batch.new), batch.old)}
