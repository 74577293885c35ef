"""World models: predict an item's new embedding, learned from the pairs migrated so far.

They are explicit, and used while the backfill is served. "Early experience" (arXiv 2510.08558, section 4.2) sets such
inference-time world models apart from its implicit world modelling, which is `compat.policies.imitation.WorldFirst`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from compat.errors import InputError
from compat.experience.maps import ROWS, Expected, Rows, Transform, unit
from compat.experience.regressions import Family, Fixed, Gaussians, Linear, Neighbours, Regression, Rotation

Kind: TypeAlias = Literal["rotation", "ridge", "neighbours", "gaussian"]
SAMPLE = 1000  # pairs for choosing hyper-parameters
FEW = 400  # up to this number each pair is held back once, above it a quarter
FOLDS = 4


class Prior(NamedTuple):
    """A transform learned on the training set to start from, in either direction, if there is one.

    Attributes:
        forward: (N, D_old) -> (N, D_new).
        back: (N, D_new) -> (N, D_old).
    """

    forward: Transform | None = None
    back: Transform | None = None


NO_PRIOR = Prior()


class HeldBack(NamedTuple):
    """Held-back pairs, and their predictions by models which had not seen them.

    Attributes:
        rows: (N,) the pairs, fold after fold.
        sizes: sizes of the folds; a model saw the folds other than its own.
        expected: (N, D_out) predictions.
    """

    rows: Rows
    sizes: list[int]
    expected: Rows


class Direction:
    """A map from one space to the other: the candidate which best predicts held-back pairs, fitted to all.

    Its predictions of them are slightly optimistic, as they were used to choose it.

    Args:
        families: makes families of regressions, anew at every call.
    """

    held: HeldBack

    def __init__(self, families: Callable[[], Iterator[Family]]) -> None:
        self.families = families

    def fit(self, x: Rows, y: Rows) -> None:
        """Choose and learn from rows (N, D_in) and unit vectors (N, D_out).

        Raises:
            LinAlgError: no candidate converges.
        """
        folds, least = held_back(len(x)), np.inf
        rows = np.concatenate([held for _, held in folds])
        for family in self.families():
            tries = zip(*(family.predict_held_back(x[seen], y[seen], x[held]) for seen, held in folds), strict=True)
            for member, parts in zip(family.members, tries, strict=True):
                expected = np.concatenate(parts)
                squared = (expected - y[rows]) ** 2
                if squared.mean() < least:
                    least, self.chosen, errors = squared.mean(), member, squared
                    self.held = HeldBack(rows, [len(held) for _, held in folds], expected)
        if not np.isfinite(least):
            raise np.linalg.LinAlgError("no candidate expects finite embeddings")
        self.scale = (errors / self._held_back_variance(x, y, folds)[:, None]).mean(0)
        self.chosen.fit(x, y)

    def _held_back_variance(self, x: Rows, y: Rows, folds: list[tuple[Rows, Rows]]) -> Rows:
        """Return the chosen candidate's variance for the held-back rows."""
        parts = []
        for seen, held in folds:
            self.chosen.fit(x[seen], y[seen])
            parts.append(self.chosen.variance(x[held]))
        return np.concatenate(parts)

    @property
    def map(self) -> Expected:
        """The chosen and fitted map."""
        return self.chosen.learned

    def variance(self, rows: Tensor) -> Tensor:
        """Return the variance of each dimension: (N, D_in) -> (N, D_out), in chunks."""
        parts = [self.chosen.variance(some.double().cpu().numpy()) for some in rows.split(ROWS)]
        return torch.from_numpy(np.concatenate(parts)[:, None] * self.scale).float()


def held_back(pairs: int) -> list[tuple[Rows, Rows]]:
    """Split pairs into rows to learn from and rows held back: each of few pairs once, else a quarter of `SAMPLE`."""
    some = np.random.default_rng(0).permutation(pairs)[:SAMPLE]
    parts = np.array_split(some, min(FOLDS, pairs))
    folds = [(np.concatenate([other for other in parts if other is not part]), part) for part in parts]
    return folds if pairs <= FEW else folds[:1]


class World:
    """A model of the new space: maps old embeddings forward, with a variance, and new ones back.

    Its embeddings are unit vectors, as in cosine retrieval. Hyper-parameters are chosen by the prediction of held-back
    pairs: a quarter of up to `SAMPLE` seen ones. The variance is the chosen regression's, scaled for each dimension to
    the held-back pairs' errors.

    Args:
        prior: a transform to start from; held-back pairs decide between it and a rotation.
    """

    old_to_new: Direction

    def __init__(self, prior: Prior = NO_PRIOR) -> None:
        self.prior = prior
        self.pairs: tuple[Rows, Rows] | None = None
        self._new_to_old: Direction | None = None

    def families(self, start: Callable[[], Regression]) -> Iterator[Family]:
        """Yield the candidate regressions on top of a start."""
        raise NotImplementedError

    def fit(self, old: Tensor, new: Tensor) -> None:
        """Learn from pairs.

        Args:
            old: (N, D_old).
            new: (N, D_new).

        Raises:
            InputError: fewer than two pairs, all of them equal, NaN, different numbers of rows.
            LinAlgError: it does not converge.
        """
        check_pairs(old, new)
        self.pairs, self._new_to_old = (old.double().cpu().numpy(), new.double().cpu().numpy()), None
        self.old_to_new = self._direction(self.prior.forward)
        self.old_to_new.fit(self.pairs[0], unit(new))

    def forward(self, old: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance (N, D_new) of the new embeddings predicted from old ones (N, D_old)."""
        return self.old_to_new.map(old), self.old_to_new.variance(old)

    def back(self, new: Tensor) -> Tensor:
        """Return the old embeddings (N, D_old) predicted from new ones (N, D_new)."""
        return self.new_to_old.map(new)

    @property
    def new_to_old(self) -> Direction:
        """The map back, learned on first use.

        Raises:
            InputError: nothing was fitted.
        """
        if self.pairs is None:
            raise InputError("pairs: none, expected a call of fit")
        if self._new_to_old is None:
            direction = self._direction(self.prior.back)
            old, new = self.pairs
            direction.fit(new, unit(old))
            self._new_to_old = direction
        return self._new_to_old

    def _direction(self, prior: Transform | None) -> Direction:
        starts: list[Callable[[], Regression]] = [Rotation]
        if prior is not None:
            starts.append(lambda: Fixed(prior))
        return Direction(lambda: (family for start in starts for family in self.families(start)))


class RotationWorld(World):
    """Orthogonal Procrustes."""

    def families(self, start: Callable[[], Regression]) -> Iterator[Family]:
        yield Family([start()])


class RidgeWorld(World):
    """A rotation, and ridge regression of its residuals."""

    def families(self, start: Callable[[], Regression]) -> Iterator[Family]:
        yield Family([Linear(start(), alpha) for alpha in (0.01, 0.1, 1.0, 10.0, 100.0)])


class NeighbourWorld(World):
    """A rotation, and the residuals of the nearest migrated items."""

    def families(self, start: Callable[[], Regression]) -> Iterator[Family]:
        yield Family([Neighbours(start(), k, t) for k, t in product((5, 20, 80), (0.03, 0.1, 0.3))])


class GaussianWorld(World):
    """A rotation, and a Gaussian process on its residuals."""

    def families(self, start: Callable[[], Regression]) -> Iterator[Family]:
        yield from (Gaussians(start, gamma, (1e-3, 0.01, 0.03, 0.1, 0.3, 1.0)) for gamma in (0.125, 0.5))


WORLDS: dict[str, type[World]] = {
    "rotation": RotationWorld,
    "ridge": RidgeWorld,
    "neighbours": NeighbourWorld,
    "gaussian": GaussianWorld,
}


def check_pairs(old: Tensor, new: Tensor) -> None:
    """Refuse pairs from which no map can be learned.

    Raises:
        InputError: different numbers of rows, fewer than two pairs, NaN, or all pairs equal.
    """
    if len(old) != len(new):
        raise InputError(f"pairs: {len(old)} old and {len(new)} new embeddings, expected as many of each")
    if len(old) < 2:
        raise InputError(f"pairs: {len(old) or 'none'}, expected two or more")
    for name, rows in (("old", old), ("new", new)):
        if not (finite := rows.isfinite().all(1)).all():
            pair = int((~finite).nonzero()[0])
            raise InputError(f"pairs: NaN or infinite in the {name} embedding of pair {pair}, expected finite ones")
        if (rows == rows[0]).all():
            raise InputError(f"pairs: all {len(rows)} {name} embeddings are equal, expected different ones")
