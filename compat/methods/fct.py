"""Forward-compatible training: transform the old gallery into the new space."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn

from compat.batch import Pair
from compat.errors import at_least_one, not_negative
from compat.methods.learned import Learned
from compat.models import Embedder


def block(inside: int, outside: int) -> nn.Sequential:
    """Build Linear without bias, BatchNorm, ReLU."""
    return nn.Sequential(nn.Linear(inside, outside, bias=False), nn.BatchNorm1d(outside), nn.ReLU())


class ForwardHead(nn.Module):
    """h(o, s): two projections of two blocks each, and a mixer of their outputs (apple/ml-fct).

    [D_old -> 2 D_old -> 2 D_new] beside [D_side -> 2 D_side -> 2 D_new], then 4 D_new -> hidden -> hidden -> D_new, the
    last layer linear.
    """

    def __init__(self, old_dim: int, side_dim: int, new_dim: int, hidden: int) -> None:
        super().__init__()
        self.old = nn.Sequential(block(old_dim, 2 * old_dim), block(2 * old_dim, 2 * new_dim))
        self.side = nn.Sequential(block(side_dim, 2 * side_dim), block(2 * side_dim, 2 * new_dim))
        self.mix = nn.Sequential(block(4 * new_dim, hidden), block(hidden, hidden), nn.Linear(hidden, new_dim))

    def forward(self, old: Tensor, side: Tensor) -> Tensor:
        """(B, D_old), (B, D_side) -> (B, D_new)."""
        return self.mix(torch.cat([self.old(old), self.side(side)], 1))


def forward_loss(transformed: Tensor, new: Tensor, normalize: bool) -> Tensor:
    """Compute each row's mean squared difference, (B,), of raw (B, D) or of unit vectors (times D)."""
    if normalize:
        scale = new.shape[1] ** 0.5
        transformed, new = F.normalize(transformed, dim=1) * scale, F.normalize(new, dim=1) * scale
    return (transformed - new).square().mean(1)


class FCT(Learned):
    """FCT (Ramanujan et al., arXiv 2112.02805): minimise MSE(h(o, s), z); queries z search h(gallery) and new items.

    Without side-information the head gets o twice, as in the authors' code. With it, s is another model's embedding,
    which the old system must have stored beside each item's own. Under cosine retrieval the error is that of unit
    vectors (`normalize`); theirs is of raw vectors, with L2 retrieval. They train h through augmented images, drawn
    anew in each epoch; here it is trained on cached embeddings of plain images, unless `heads.images` is true.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        side: dimension of the side-information; 0: none.
        hidden: width of the mixer; 2048 in the authors' code.
        normalize: compare directions, as cosine retrieval does.
        warmup: share of the steps in which the learning rate rises, before its cosine.
        optimizer: from parameters to an optimizer; Adam at 5e-4 in the authors' code.
    """

    transforms_gallery = True
    needs: ClassVar[tuple[str, ...]] = ("training embeddings", "labels if known", "head training")
    needs_with: ClassVar[dict[str, str]] = {"side": "side-information"}

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        side: int = 0,
        hidden: int = 2048,
        normalize: bool = True,
        warmup: float = 0.1,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=3.0517578125e-05),
    ) -> None:
        super().__init__(old, new, warmup, optimizer)
        not_negative(side=side)
        at_least_one(hidden=hidden)
        self.side, self.normalize = side, normalize
        dim = old.project.out_features
        self.head = ForwardHead(dim, side or dim, new.project.out_features, hidden)

    def transform(self, old: Tensor) -> Tensor:
        """Transform (B, D_old), or (B, D_old + side), to (B, D_new)."""
        dim = self.old.project.out_features
        return self.head(old[:, :dim], old[:, dim:] if self.side else old)

    def query(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return new, new

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return query_new

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return self.transform(old), new

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        return {"forward": forward_loss(self.transform(batch.old), batch.new, self.normalize).mean()}
