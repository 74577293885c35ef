"""Regressions from one space to another, each on top of a start; they make up one direction of a world model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from compat.experience.maps import AffineMap, Expected, Kernels, Nearest, Rows, Transform, Turned, unit
from compat.methods.procrustes import procrustes

if TYPE_CHECKING:
    from sklearn.kernel_approximation import Nystroem

EXACT = 1024  # pairs up to which a Gaussian process is exact
CENTRES = 512  # Nystroem features above that


class Regression(Protocol):
    """A map from directions of rows (N, D_in) to unit vectors (N, D_out).

    Attributes:
        learned: the map of the last fit.
    """

    learned: Expected

    def fit(self, x: Rows, y: Rows) -> None:
        """Learn from pairs."""

    def mean(self, x: Rows) -> Rows:
        """Predict rows, (N, D_out)."""

    def variance(self, x: Rows) -> Rows:
        """Return the variance of each row's prediction, (N,), up to a factor for each dimension."""


class Fixed:
    """An existing map, such as one learned on a training set.

    Args:
        transform: maps unnormalised rows (N, D_in) -> (N, D_out).
    """

    def __init__(self, transform: Transform) -> None:
        self.learned = Expected(prior=transform)

    def fit(self, x: Rows, y: Rows) -> None:
        return

    def mean(self, x: Rows) -> Rows:
        return self.learned.mean(x)

    def variance(self, x: Rows) -> Rows:
        return np.ones(len(x))


class Rotation:
    """Orthogonal Procrustes (`compat.methods.procrustes`), without centring."""

    learned: Expected

    def fit(self, x: Rows, y: Rows) -> None:
        self.learned = Expected(Turned(procrustes(torch.from_numpy(unit(x)), torch.from_numpy(y)).numpy()))

    def mean(self, x: Rows) -> Rows:
        return self.learned.mean(x)

    def variance(self, x: Rows) -> Rows:
        return np.ones(len(x))


class Residual:
    """A start, plus a regression of its residuals: (x, y - start(x)).

    Args:
        start: regression fitted first, to the same pairs.
    """

    learned: Expected

    def __init__(self, start: Regression) -> None:
        self.start = start

    def fit(self, x: Rows, y: Rows) -> None:
        self.start.fit(x, y)
        self.learned = replace(self.start.learned, rest=self.fit_residuals(unit(x), y - self.start.mean(x)))

    def mean(self, x: Rows) -> Rows:
        return self.learned.mean(x)

    def fit_residuals(self, x: Rows, rest: Rows) -> AffineMap | Nearest | Kernels:
        """Learn the residuals (N, D_out)."""
        raise NotImplementedError

    def variance(self, x: Rows) -> Rows:
        return self.residual_variance(unit(x))

    def residual_variance(self, x: Rows) -> Rows:
        """Return the variance for unit vectors, see `variance`."""
        return np.ones(len(x))


class Linear(Residual):
    """Ridge regression of the residuals, with an intercept.

    Args:
        start: see `Residual`.
        alpha: penalty.
    """

    def __init__(self, start: Regression, alpha: float) -> None:
        super().__init__(start)
        self.alpha = alpha

    def fit_residuals(self, x: Rows, rest: Rows) -> AffineMap:
        from sklearn.linear_model import Ridge

        ridge = Ridge(self.alpha).fit(x, rest)
        return AffineMap(ridge.coef_.T, ridge.intercept_)


class Neighbours(Residual):
    """Averages the residuals of the nearest pairs, weighted by softmax(cos / temperature).

    Args:
        start: see `Residual`.
        count: number of nearest pairs.
        temperature: temperature of the weights.
    """

    def __init__(self, start: Regression, count: int, temperature: float) -> None:
        super().__init__(start)
        self.count, self.temperature = count, temperature

    def fit_residuals(self, x: Rows, rest: Rows) -> Nearest:
        self.nearest = Nearest(x, rest, self.count, self.temperature)
        return self.nearest

    def residual_variance(self, x: Rows) -> Rows:
        weights, near = self.nearest.near(x)
        residuals = self.nearest.residuals[near]
        mean = np.einsum("nk,nkd->nd", weights, residuals)
        spread = np.einsum("nk,nkd->n", weights, (residuals - mean[:, None]) ** 2)
        return spread + self.nearest.residuals.var(0).sum()  # few neighbours underestimate their spread


class Gaussian(Residual):
    """A Gaussian process on the residuals with the kernel exp(-gamma |x - x'|^2): kernel ridge with a variance.

    Exact up to `EXACT` pairs; beyond, ridge regression on the Nystroem features of `CENTRES` of them (Williams and
    Seeger, 2001), with the variance of the deterministic training conditional (Quinonero-Candela and Rasmussen, 2005).
    The variance is in the process's units.

    Args:
        start: see `Residual`.
        gamma: parameter of the kernel.
        alpha: variance of the noise of pairs and predictions.
    """

    features: Nystroem | None

    def __init__(self, start: Regression, gamma: float, alpha: float) -> None:
        super().__init__(start)
        self.gamma, self.alpha = gamma, alpha

    def fit_residuals(self, x: Rows, rest: Rows) -> Kernels:
        from scipy.linalg import cho_factor, cho_solve
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF
        from sklearn.kernel_approximation import Nystroem

        self.features = None
        if len(x) <= EXACT:
            kernel = RBF((2 * self.gamma) ** -0.5, "fixed")
            self.process = GaussianProcessRegressor(kernel, alpha=self.alpha, optimizer=None).fit(x, rest)
            return Kernels(x, self.process.alpha_.reshape(len(x), -1), self.gamma)
        self.features = Nystroem(gamma=self.gamma, n_components=CENTRES, random_state=0).fit(x)
        shown = self.features.transform(x)
        self.factor = cho_factor(shown.T @ shown + self.alpha * np.eye(shown.shape[1]))
        weights = self.features.normalization_.T @ cho_solve(self.factor, shown.T @ rest)
        return Kernels(self.features.components_, weights, self.gamma)

    def residual_variance(self, x: Rows) -> Rows:
        if self.features is None:
            deviation = self.process.predict(x, return_std=True)[1].reshape(len(x), -1)[:, 0]
            return deviation**2 + self.alpha
        from scipy.linalg import cho_solve

        shown = self.features.transform(x)
        known = self.alpha * np.einsum("nm,mn->n", shown, cho_solve(self.factor, shown.T))
        return np.maximum(1 - (shown**2).sum(1), 0) + known + self.alpha


class Family:
    """Regressions among which held-back pairs choose one.

    Args:
        members: the regressions.
    """

    def __init__(self, members: Sequence[Regression]) -> None:
        self.members = members

    def predict_held_back(self, x: Rows, y: Rows, held: Rows) -> Iterator[Rows]:
        """Yield each member's prediction of held-back rows, learned from pairs (x, y)."""
        for member in self.members:
            member.fit(x, y)
            yield member.mean(held)


class Gaussians(Family):
    """Gaussian processes which differ only in their noise: start and kernel are computed once.

    Args:
        start: makes a start, anew at every call.
        gamma: parameter of the kernel.
        alphas: variances of the noise.
    """

    def __init__(self, start: Callable[[], Regression], gamma: float, alphas: Sequence[float]) -> None:
        super().__init__([Gaussian(start(), gamma, alpha) for alpha in alphas])
        self.start, self.gamma, self.alphas = start(), gamma, alphas

    def predict_held_back(self, x: Rows, y: Rows, held: Rows) -> Iterator[Rows]:
        from scipy.linalg import cho_factor, cho_solve
        from sklearn.metrics.pairwise import rbf_kernel

        self.start.fit(x, y)
        begun, rest = self.start.mean(held), y - self.start.mean(x)
        kernel, shown = rbf_kernel(unit(x), gamma=self.gamma), rbf_kernel(unit(held), unit(x), gamma=self.gamma)
        for alpha in self.alphas:
            yield begun + shown @ cho_solve(cho_factor(kernel + alpha * np.eye(len(x))), rest)
