"""Query drift compensation: subtract the mean drift between the spaces from each query."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from compat.batch import Pair
from compat.methods.upgrade import Fit, Upgrade, resized
from compat.models import Embedder
from compat.needs import Given


class QueryDrift(Upgrade):
    """psi(z) = n(z) - mean(n(z) - n(o)), n: unit vector (query drift compensation, Goswami et al., arXiv 2506.00037).

    As in the authors' code (dipamgoswami/QDC), the mean is over the training queries. In a sequence of upgrades their
    drifts are summed: each is subtracted from a query that is not made a unit vector again. New queries and new items
    are served as unit vectors, which cosine retrieval does not see.

    The authors fine-tune the new model from the old one with distillation. Between independently trained models the
    drift is no translation, so expect little; `query_drift_bct` supplies a new model near the old one. If the
    dimensions differ, n(z) is padded with zeros or cut; theirs are equal.

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
        new, old = (F.normalize(rows.double(), dim=1) for rows in (pairs.new, pairs.old))
        self.drift = (resized(new, self.dim) - old).mean(0).float()

    def query(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return super().query(old, F.normalize(new, dim=1))

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return resized(query_new, self.dim) - self.drift

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return old, F.normalize(new, dim=1)
