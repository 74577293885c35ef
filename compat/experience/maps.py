"""Maps from one space to another as arrays alone: so what was learned is stored, and read back to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

Rows: TypeAlias = np.ndarray
Transform: TypeAlias = Callable[[Tensor], Tensor]
ROWS = 2**11  # mapped at a time


def unit(rows: Tensor | Rows) -> Rows:
    """Rows (N, D) of length 1, float64; zero stays zero."""
    return torch.nn.functional.normalize(torch.as_tensor(rows).double(), dim=1).cpu().numpy()


@dataclass(frozen=True)
class Turned:
    """Unit vectors times a matrix (D_in, D_out)."""

    matrix: Rows

    def __call__(self, x: Rows) -> Rows:
        return x @ self.matrix


@dataclass(frozen=True)
class AffineMap:
    """Unit vectors times a weight (D_in, D_out), and a bias (D_out,)."""

    weight: Rows
    bias: Rows

    def __call__(self, x: Rows) -> Rows:
        return x @ self.weight + self.bias


@dataclass(frozen=True)
class Nearest:
    """The residuals (N, D_out) of the nearest of pairs (N, D_in), weighted by softmax(cos / temperature)."""

    pairs: Rows
    residuals: Rows
    count: int
    temperature: float

    def __call__(self, x: Rows) -> Rows:
        weights, near = self.near(x)
        return np.einsum("nk,nkd->nd", weights, self.residuals[near])

    @cached_property
    def index(self) -> NearestNeighbors:
        from sklearn.neighbors import NearestNeighbors

        return NearestNeighbors(n_neighbors=min(self.count, len(self.pairs)), algorithm="brute").fit(self.pairs)

    def near(self, x: Rows) -> tuple[Rows, Rows]:
        """Weights and numbers of the nearest pairs, (M, K) each."""
        distance, near = self.index.kneighbors(x)
        logits = -(distance**2) / (2 * self.temperature)  # of unit vectors cos = 1 - d^2 / 2
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True), near


@dataclass(frozen=True)
class Kernels:
    """Weights (N, D_out) of the kernels exp(-gamma |x - c|^2) around centres (N, D_in)."""

    centres: Rows
    weights: Rows
    gamma: float

    def __call__(self, x: Rows) -> Rows:
        from sklearn.metrics.pairwise import rbf_kernel

        return rbf_kernel(x, self.centres, gamma=self.gamma) @ self.weights


@dataclass(frozen=True)
class Expected:
    """What is expected of rows in the other space: a start, and the rest that was learned on top of it.

    Attributes:
        start: None: the prior.
        rest: None: nothing.
        prior: a map that was there already, (N, D_in) -> (N, D_out) of rows as they are; it is stored elsewhere.
    """

    start: Turned | None = None
    rest: AffineMap | Nearest | Kernels | None = None
    prior: Transform | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """(N, D_in) -> (N, D_out) float32, in chunks."""
        return torch.from_numpy(
            np.concatenate([self.mean(some.double().cpu().numpy()) for some in rows.split(ROWS)])
        ).float()

    def mean(self, x: Rows) -> Rows:
        """(N, D_in) -> (N, D_out), float64."""
        directions = unit(x)
        if self.start is not None:
            begun = self.start(directions)
        else:
            assert self.prior is not None
            with torch.inference_mode():
                begun = unit(self.prior(torch.from_numpy(x).float()))
        return begun if self.rest is None else begun + self.rest(directions)


@dataclass(frozen=True)
class Query:
    """The query for what is not migrated: that of one of the models, or what is expected of it in the other space.

    Attributes:
        model: whose query, as the upgrade before serves it.
        map: to the space that is searched; None: as it is.
    """

    model: Literal["old", "new"]
    map: Expected | None = None

    def __call__(self, old: Tensor, new: Tensor) -> Tensor:
        """(Q, D_old) and (Q, D_new) -> (Q, D)."""
        rows = old if self.model == "old" else new
        return rows if self.map is None else self.map(rows)
