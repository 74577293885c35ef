"""Merge rules: bring the distances of two spaces to one scale before the lists are merged.

A rule maps each space's distances by an increasing function, so the order within one part of the gallery never changes:
at progress 0 and 1 the ranking is that of the old and of the new part alone. `QueryZScore` has such functions for each
query, which change as items migrate; the other rules have the same two for a whole curve.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from compat.errors import InputError
from compat.needs import Given


class Scale:
    """An increasing, piecewise linear function, extrapolated at its end slopes.

    Args:
        x: (K,) ascending, K at least 2.
        y: (K,) ascending.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if len(self.x) < 2 or (np.diff(self.x) <= 0).any() or (np.diff(self.y) <= 0).any():
            raise InputError("replay.merge: distances that are all the same, expected some spread to fit a scale to")

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        """Map distances of any shape, float64 out; different distances stay different."""
        d = distance.astype(np.float64)
        k = np.clip(np.searchsorted(self.x, d, side="right") - 1, 0, len(self.x) - 2)
        slope = np.diff(self.y) / np.diff(self.x)
        return self.y[k] + (d - self.x[k]) * slope[k]


class Merge:
    """The base class of merge rules; used as it is, it compares raw distances (arXiv 2301.03767), see `Raw`.

    Attributes:
        needs: inputs of `fit`, see `compat.needs`.
        by_rank: merge by ranks instead of distances.
        by_query: standardise each query's distances by those to a sample of migrated items, see `QueryZScore`.
        scales: of the old and the new space, once fitted; None: raw distances.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    by_rank = False
    by_query = False
    scales: tuple[Scale, Scale] | None = None

    @property
    def changes(self) -> bool:
        """Whether the rule does more than compare raw distances.

        Raises:
            InputError: the rule is not fitted.
        """
        if self.scales is None and self.needs:
            raise InputError(f"merge: {type(self).__name__} is not fitted, expected a call of fit")
        return self.by_rank or self.by_query or self.scales is not None

    def fit(self, given: Given) -> None:
        """Fit the scales to pairs of training images.

        Args:
            given: the inputs declared in `needs`. "training distances" are (N,) distances of the same pairs in the old
                and in the new space; "training labels" is whether a pair shows one class, (N,).
        """


class Raw(Merge):
    """Raw distances."""


class ZScore(Merge):
    """Standardise each space's distances by mean and standard deviation over pairs of training images; no labels."""

    needs: ClassVar[tuple[str, ...]] = ("training distances",)

    def fit(self, given: Given) -> None:
        old, new = given["training distances"]
        self.scales = (_standard(old), _standard(new))


def _standard(distance: np.ndarray) -> Scale:
    mean, deviation = distance.mean(dtype=np.float64), distance.std(dtype=np.float64)
    return Scale(np.array([mean - deviation, mean + deviation]), np.array([-1.0, 1.0]))


class Quantile(Merge):
    """Replace each distance by its quantile in its space, over pairs of training images; no labels.

    Args:
        knots: quantiles between which it is linear, denser at the near end, where retrieval happens.
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
    """Estimate the probability that a pair shows two classes by isotonic regression; needs training labels.

    Where the regression is flat, and beyond the sampled distances, a slope of one millionth over their range keeps
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
    """Build a scale from the points with distinct x."""
    kept = np.concatenate([[True], np.diff(x) > 0])
    return Scale(x[kept], y[kept])


class ReciprocalRank(Merge):
    """Reciprocal rank fusion: merge by 1 / (k + rank in the own list), hence by rank for any k.

    Items at one distance share the last of their ranks; equal ranks in both lists are a tie.
    """

    by_rank = True


class QueryZScore(Merge):
    """Standardise each query's distances by its distances to a sample of migrated items; no labels, no training.

    The sampled items' embeddings are known in both spaces. A query's old distances are standardised by mean and
    deviation of its distances to the sample's old embeddings, and its new ones by those to the new embeddings. Items of
    the query's own group do not count. Distances stay raw below `fewest` migrated items, and for a query whose sample
    is without spread in a space.

    Each place in the backfill order has a random priority. The sample is the `size` migrated places of lowest priority,
    so it depends on nothing but the number of migrated items, and few items enter or leave it as that number grows.

    Args:
        size: number of sampled items.
        fewest: number of migrated items below which distances stay raw.
        seed: of the priorities.

    Raises:
        InputError: `fewest` below 2 or above `size`; a negative seed.
    """

    by_query = True

    def __init__(self, size: int = 300, fewest: int = 100, seed: int = 0) -> None:
        if not 2 <= fewest <= size:
            raise InputError(f"fewest: {fewest}, expected 2 to size = {size}")
        if seed < 0:
            raise InputError(f"seed: {seed}, expected at least 0")
        self.size, self.fewest, self.seed = size, fewest, seed

    def places(self, migrated: int) -> np.ndarray:
        """Return the sampled places in the backfill order, (N,), when the first `migrated` items of it are migrated."""
        if migrated < self.fewest:
            return np.empty(0, np.int64)
        return lowest(self.priorities(migrated), self.size)

    def priorities(self, places: int) -> np.ndarray:
        """Return the priorities of the first places of the backfill order, (N,); they do not depend on N."""
        return np.random.default_rng(self.seed).random(places)


def lowest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of the lowest values, at most `count`, in any order."""
    return np.argpartition(values, count - 1)[:count] if count < len(values) else np.arange(len(values))
