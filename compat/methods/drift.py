"""Query drift compensation: subtract the mean drift between the spaces from each query."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from compat.batch import Pair
from compat.methods.upgrade import Fit, Upgrade, resized
from compat.models import Embedder
from compat.needs import Given


class QueryDrift(Upgrade):
    """psi(z) = z - mean(z - o) (query drift compensation, Goswami et al., arXiv 2506.00037).

    The authors fine-tune the new model from the old one with distillation and average over training queries. Their code
    subtracts one vector from each raw embedding; how it is averaged is known second hand only. Between independently
    trained models the drift is no translation, so expect little; `query_drift_bct` supplies a new model near the old
    one. If the dimensions differ, z is padded with zeros or cut; theirs are equal.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
    """

    encoder_passes = 1
    needs: ClassVar[tuple[str, ...]] = ("training embeddings",)
    drift: Tensor

    def __init__(self, old: Embedder, new: Embedder) -> None:
        super().__init__(old, new)
        self.dim = old.project.out_features
        self.register_buffer("drift", torch.zeros(self.dim))

    def learn(self, given: Given, fit: Fit) -> None:
        self.solve(given["training embeddings"])

    def solve(self, pairs: Pair) -> None:
        """Set the drift from all training pairs; labels are ignored."""
        self.drift = (resized(pairs.new, self.dim) - pairs.old).double().mean(0).float()

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return resized(query_new, self.dim) - self.drift
