"""Ridge regression from new to old embeddings, in closed form, of full or low rank."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from compat.batch import Pair
from compat.errors import InputError, not_negative
from compat.methods.scaling import diagonal_scaling
from compat.methods.upgrade import Fit, Upgrade
from compat.models import Embedder
from compat.needs import Given


def ridge(new: Tensor, old: Tensor, alpha: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Fit the affine map z W + b that minimises |z W + b - o|^2 + a |W|^2 summed over rows; b is not penalised.

    The penalty a is relative to the spread of the new embeddings: alpha * trace(C) / D_new, where C is the sum of (z -
    mean)(z - mean)^T.

    Args:
        new: (N, D_new).
        old: (N, D_old).
        alpha: strength of the penalty.

    Returns:
        W (D_new, D_old) and b (D_old,), in float64.
    """
    new, old = new.double(), old.double()
    x, y = new - new.mean(0), old - old.mean(0)
    covariance = x.T @ x
    penalty = alpha * covariance.trace() / len(covariance)
    weight = torch.linalg.solve(covariance + penalty * torch.eye(len(covariance), device=new.device), x.T @ y)
    return weight, old.mean(0) - new.mean(0) @ weight


def low_rank(weight: Tensor, new: Tensor, old: Tensor, rank: int) -> Tensor:
    """Find the matrix of a given rank that minimises what `ridge` minimises: W V V^T (reduced-rank regression).

    V has the leading right singular vectors of the fitted values X W over sqrt(a) W, the penalty's own rows (Mukherjee
    and Zhu 2011). Their Gram matrix W^T (X^T X + a I) W is W^T X^T Y, as W is a ridge regression's.

    Args:
        weight: W of `ridge`, (D_new, D_old).
        new: (N, D_new), that W was fitted to.
        old: (N, D_old), that W was fitted to.
        rank: number of columns of V.

    Returns:
        (D_new, D_old), in float64.
    """
    new, old = new.double(), old.double()
    gram = weight.T @ ((new - new.mean(0)).T @ (old - old.mean(0)))
    leading = torch.linalg.eigh((gram + gram.T) / 2).eigenvectors[:, -rank:]
    return weight @ leading @ leading.T


class Affine(Upgrade):
    """psi(z) = z W + b by `ridge`, or by `low_rank` (Drift-Adapter's low-rank affine, arXiv 2509.23471; rebasis).

    Least squares shrinks directions that are hard to predict more than others; a common scale does not matter to cosine
    retrieval.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        alpha: strength of the ridge penalty.
        rank: rank of W; none: full. Rebasis uses D / 4, as 64 of 768 collapsed there.
        scale: multiply each dimension by its factor from `diagonal_scaling` (Drift-Adapter's DSM).

    Raises:
        InputError: a negative alpha, or an impossible rank.
    """

    encoder_passes = 1
    needs: ClassVar[tuple[str, ...]] = ("training embeddings",)
    weight: Tensor
    bias: Tensor

    def __init__(
        self, old: Embedder, new: Embedder, alpha: float = 1e-3, rank: int | None = None, scale: bool = False
    ) -> None:
        super().__init__(old, new)
        not_negative(alpha=alpha)
        shape = new.project.out_features, old.project.out_features
        if rank is not None and not 1 <= rank <= min(shape):
            raise InputError(f"rank: {rank}, expected 1 to {min(shape)}")
        self.alpha, self.rank, self.scale = alpha, rank, scale
        self.register_buffer("weight", torch.eye(*shape))
        self.register_buffer("bias", torch.zeros(shape[1]))

    def learn(self, given: Given, fit: Fit) -> None:
        self.solve(given["training embeddings"])

    def solve(self, pairs: Pair) -> None:
        """Fit the map to all training pairs; labels are ignored."""
        weight, bias = ridge(pairs.new, pairs.old, self.alpha)
        if self.rank is not None:
            weight = low_rank(weight, pairs.new, pairs.old, self.rank)
            bias = (pairs.old.double() - pairs.new.double() @ weight).mean(0)
        if self.scale:
            factors = diagonal_scaling(pairs.new.double() @ weight + bias, pairs.old)
            weight, bias = weight * factors, bias * factors
        self.weight, self.bias = weight.float(), bias.float()

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return query_new @ self.weight + self.bias
