"""How the distances of two spaces are made one scale before the lists are merged.

A rule maps the distances of each space by an increasing function of its own, so within one part of the gallery
nothing ever changes places: at progress 0 and 1 the ranking is the old and the new part's own.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from compat.errors import InputError
from compat.needs import Given


class Scale:
    """An increasing, piecewise linear function, continued beyond its ends at their slopes.

    Args:
        x: (K,) ascending, K at least 2.
        y: (K,) ascending.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if len(self.x) < 2 or (np.diff(self.x) <= 0).any() or (np.diff(self.y) <= 0).any():
            raise InputError("replay.merge: distances that are all the same, expected some spread to fit a scale to")

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        """Any shape, float64 out; different distances stay different."""
        d = distance.astype(np.float64)
        k = np.clip(np.searchsorted(self.x, d, side="right") - 1, 0, len(self.x) - 2)
        slope = np.diff(self.y) / np.diff(self.x)
        return self.y[k] + (d - self.x[k]) * slope[k]


class Merge:
    """How the two lists are merged: as it stands by distances as they are (arXiv 2301.03767), see `Raw`.

    Attributes:
        needs: what fitting it takes, see `compat.needs`.
        by_rank: lists are merged by ranks, not by distances.
        scales: of the old and the new space, once fitted; None: distances as they are.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    by_rank = False
    scales: tuple[Scale, Scale] | None = None

    @property
    def changes(self) -> bool:
        """Whether the rule does anything but to compare distances.

        Raises:
            InputError: it is not fitted.
        """
        if self.scales is None and self.needs:
            raise InputError(f"merge: {type(self).__name__} is not fitted, expected a call of fit")
        return self.by_rank or self.scales is not None

    def fit(self, given: Given) -> None:
        """Fit to pairs of training images: (N,) distances, the same pairs in the old and in the new space.

        Args:
            given: what was declared in `needs`; "training labels" is whether both images show one class, (N,).
        """


class Raw(Merge):
    """Distances as they are."""


class ZScore(Merge):
    """Each space's distances less their mean, by their standard deviation, over pairs of training images; no labels."""

    needs: ClassVar[tuple[str, ...]] = ("training distances",)

    def fit(self, given: Given) -> None:
        old, new = given["training distances"]
        self.scales = (_standard(old), _standard(new))


def _standard(distance: np.ndarray) -> Scale:
    mean, deviation = distance.mean(dtype=np.float64), distance.std(dtype=np.float64)
    return Scale(np.array([mean - deviation, mean + deviation]), np.array([-1.0, 1.0]))


class Quantile(Merge):
    """Each distance's quantile among those of its space, over pairs of training images; no labels.

    Args:
        knots: quantiles between which it is linear, closer together at the near end, where retrieval happens.
    """

    needs: ClassVar[tuple[str, ...]] = ("training distances",)

    def __init__(self, knots: int = 257) -> None:
        if knots < 2:
            raise InputError(f"knots: {knots}, expected at least 2")
        self.knots = knots

    def fit(self, given: Given) -> None:
        levels = np.linspace(0, 1, self.knots) ** 2
        old, new = given["training distances"]
        self.scales = (_increasing(np.quantile(old, levels), levels), _increasing(np.quantile(new, levels), levels))


class Isotonic(Merge):
    """The probability that a pair at a distance shows two classes, by isotonic regression: needs training labels.

    Where the regression is flat, and beyond the sampled distances, a rise of one millionth over their range keeps
    different distances apart.
    """

    needs: ClassVar[tuple[str, ...]] = ("training distances", "training labels")

    def fit(self, given: Given) -> None:
        (old, new), relevant = given["training distances"], given["training labels"]
        self.scales = (_probability(old, relevant), _probability(new, relevant))


def _probability(distance: np.ndarray, relevant: np.ndarray) -> Scale:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression().fit(distance.astype(np.float64), 1.0 - relevant)
    x, y = fitted.X_thresholds_, fitted.y_thresholds_
    spread = x[-1] - x[0]
    x, y = np.concatenate([[x[0] - spread], x, [x[-1] + spread]]), np.concatenate([y[:1], y, y[-1:]])
    return _increasing(x, y + 1e-6 * np.divide(x - x[0], spread, out=np.zeros_like(x), where=spread > 0))


def _increasing(x: np.ndarray, y: np.ndarray) -> Scale:
    """A scale through the points whose x differ."""
    kept = np.concatenate([[True], np.diff(x) > 0])
    return Scale(x[kept], y[kept])


class ReciprocalRank(Merge):
    """Reciprocal rank fusion of the two lists: by 1 / (k + rank in the own list), so by rank for any k.

    Items at one distance share the last of their ranks; equal ranks of both lists are a tie.
    """

    by_rank = True
