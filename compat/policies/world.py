"""A world model for decisions: fixed hyper-parameters, refitted to all pairs in a few milliseconds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from compat.experience.maps import Rows

GAMMA = 0.5  # of the kernel exp(-gamma |x - x'|^2), among those of `compat.experience.GaussianWorld`
ALPHA = 0.1  # variance of the noise, likewise
CENTRES = 128
JITTER = 1e-6


class Known(NamedTuple):
    """Sums over the learned pairs: features' products (M, M) with a factor, and with new embeddings (M, D)."""

    products: Rows
    targets: Rows
    factor: Rows


class QuickWorld:
    """A Gaussian process of an item's new embedding, on the Nystroem features of some items of the old gallery.

    As `compat.experience.regressions.Gaussian` beyond 1,024 pairs, without a start. It reads only inner products of old
    embeddings, so it is invariant to rotations of either space.

    Args:
        old: (G, D_old) unit vectors.
        centres: rows of the Nystroem items, (M,).
    """

    def __init__(self, old: Rows, centres: np.ndarray) -> None:
        kernel = np.exp(-2 * GAMMA * (1 - old @ old[centres].T))
        inner = kernel[centres] + JITTER * np.eye(len(centres))
        self.features = solve_triangular(np.linalg.cholesky(inner), kernel.T, lower=True).T
        self.unseen = np.maximum(1 - (self.features**2).sum(1), 0)

    def nothing(self, dimension: int) -> Known:
        """Return the state before the first pair, for (G, D_new) new embeddings."""
        products = ALPHA * np.eye(self.features.shape[1])
        return Known(products, np.zeros((len(products), dimension)), cho_factor(products, lower=True)[0])

    def learned(self, known: Known, rows: np.ndarray, new: Rows) -> Known:
        """Add the pairs of these items (N,) with their new embeddings (N, D_new)."""
        features = self.features[rows]
        products = known.products + features.T @ features
        return Known(products, known.targets + features.T @ new, cho_factor(products, lower=True)[0])

    def errors(self, known: Known, rows: np.ndarray, new: Rows) -> Rows:
        """Return the squared errors on items not learned yet, (N,)."""
        expected = self.features[rows] @ cho_solve((known.factor, True), known.targets)
        return ((expected - new) ** 2).sum(1)

    def errors_left_out(self, known: Known, rows: np.ndarray, new: Rows) -> Rows:
        """Return the leave-one-out squared errors on learned items, (N,)."""
        leverage = (solve_triangular(known.factor, self.features[rows].T, lower=True) ** 2).sum(0)
        return self.errors(known, rows, new) / np.maximum(1 - leverage, JITTER) ** 2

    def variance(self, known: Known, rows: np.ndarray) -> Rows:
        """Return the variance of items' new embeddings, (N,), in units of the process's own."""
        solved = solve_triangular(known.factor, self.features[rows].T, lower=True)
        return self.unseen[rows] + ALPHA * (solved**2).sum(0)
