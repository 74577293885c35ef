"""Orthogonal Procrustes: rotate new queries onto old ones, in closed form."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from compat.batch import Pair
from compat.methods.scaling import diagonal_scaling
from compat.methods.upgrade import Fit, Upgrade
from compat.models import Embedder
from compat.needs import Given


def procrustes(new: Tensor, old: Tensor) -> Tensor:
    """Find the matrix R with orthonormal rows or columns that maximises <new R, old>: U V^T of the SVD of new^T old.

    If D_new <= D_old, R also minimises |new R - old|; otherwise it does so against old rows padded with zeros, as in
    SLERP's code.

    Args:
        new: (N, D_new).
        old: (N, D_old).

    Returns:
        (D_new, D_old), in float64.
    """
    u, _, v = torch.linalg.svd(new.double().T @ old.double(), full_matrices=False)
    return u @ v


class Procrustes(Upgrade):
    """psi(z) = (z - mean z) R + mean o, with R = `procrustes` of the training images (Schönemann 1966).

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        center: subtract the means; without, psi(z) = z R.
        scale: multiply each dimension by its factor from `diagonal_scaling` (Drift-Adapter's DSM).
    """

    encoder_passes = 1
    needs: ClassVar[tuple[str, ...]] = ("training embeddings",)
    rotation: Tensor
    new_mean: Tensor
    old_mean: Tensor
    factors: Tensor

    def __init__(self, old: Embedder, new: Embedder, center: bool = True, scale: bool = False) -> None:
        super().__init__(old, new)
        self.center, self.scale = center, scale
        new_dim, old_dim = new.project.out_features, old.project.out_features
        self.register_buffer("rotation", torch.eye(new_dim, old_dim))
        self.register_buffer("new_mean", torch.zeros(new_dim))
        self.register_buffer("old_mean", torch.zeros(old_dim))
        self.register_buffer("factors", torch.ones(old_dim))

    def learn(self, given: Given, fit: Fit) -> None:
        self.solve(given["training embeddings"])

    def solve(self, pairs: Pair) -> None:
        """Fit the map to all training pairs; labels are ignored."""
        if self.center:
            self.new_mean, self.old_mean = pairs.new.mean(0), pairs.old.mean(0)
        self.rotation = procrustes(pairs.new - self.new_mean, pairs.old - self.old_mean).float()
        if self.scale:
            self.factors = diagonal_scaling(self.query_for_old(pairs.old, pairs.new), pairs.old).float()

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return ((query_new - self.new_mean) @ self.rotation + self.old_mean) * self.factors
