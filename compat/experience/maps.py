"""Maps from one space to another made of arrays only, so fits are stored and loaded exactly."""

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
ROWS = 2**11  # rows mapped at a time


def unit(rows: Tensor | Rows) -> Rows:
    """Normalise rows (N, D) to length 1 in float64; zero rows stay zero."""
    return torch.nn.functional.normalize(torch.as_tensor(rows).double(), dim=1).cpu().numpy()


@dataclass(frozen=True)
class Turned:
    """Multiplies unit vectors by a matrix (D_in, D_out)."""

    matrix: Rows

    def __call__(self, x: Rows) -> Rows:
        return x @ self.matrix


@dataclass(frozen=True)
class AffineMap:
    """Multiplies unit vectors by a weight (D_in, D_out) and adds a bias (D_out,)."""

    weight: Rows
    bias: Rows

    def __call__(self, x: Rows) -> Rows:
        return x @ self.weight + self.bias


@dataclass(frozen=True)
class Nearest:
    """Averages the residuals (N, D_out) of the nearest pairs (N, D_in), weighted by softmax(cos / temperature)."""

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
        """Return weights and numbers of the nearest pairs, (M, K) each."""
        distance, near = self.index.kneighbors(x)
        logits = -(distance**2) / (2 * self.temperature)  # for unit vectors cos = 1 - d^2 / 2
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True), near


@dataclass(frozen=True)
class Kernels:
    """Sums weights (N, D_out) of the kernels exp(-gamma |x - c|^2) around centres (N, D_in)."""

    centres: Rows
    weights: Rows
    gamma: float

    def __call__(self, x: Rows) -> Rows:
        from sklearn.metrics.pairwise import rbf_kernel

        return rbf_kernel(x, self.centres, gamma=self.gamma) @ self.weights


@dataclass(frozen=True)
class Expected:
    """Predicts rows in the other space: a start, plus a learned residual.

    Attributes:
        start: None: the prior.
        rest: None: no residual.
        prior: an existing map (N, D_in) -> (N, D_out) of unnormalised rows; it is stored elsewhere.
    """

    start: Turned | None = None
    rest: AffineMap | Nearest | Kernels | None = None
    prior: Transform | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """Map (N, D_in) -> (N, D_out) float32, in chunks."""
        return torch.from_numpy(
            np.concatenate([self.mean(some.double().cpu().numpy()) for some in rows.split(ROWS)])
        ).float()

    def mean(self, x: Rows) -> Rows:
        """Map (N, D_in) -> (N, D_out) float64."""
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
    """The query for items not migrated: one model's query, optionally mapped to the other space.

    Attributes:
        model: model whose query is used, as the baseline serves it.
        map: map to the searched space; None: identity.
    """

    model: Literal["old", "new"]
    map: Expected | None = None

    def __call__(self, old: Tensor, new: Tensor) -> Tensor:
        """Map (Q, D_old) and (Q, D_new) -> (Q, D)."""
        rows = old if self.model == "old" else new
        return rows if self.map is None else self.map(rows)
