"""Galleries of three generations made up for tests, orders for them, and what is the same of two curves."""

from typing import NamedTuple

import numpy as np

from compat import Embeddings, backfill_order
from tests.helpers.spaces import FIELDS


class Generations(NamedTuple):
    """Queries and gallery in the oldest, the middle and the newest space, with labels and groups of both."""

    queries: list[np.ndarray]
    gallery: list[np.ndarray]
    labels: tuple[np.ndarray, np.ndarray]
    groups: tuple[np.ndarray, np.ndarray]

    def before(self, generation: int) -> Embeddings:
        """Every item as it is before the second upgrade, all in one generation, and after it."""
        q, g = self.queries, self.gallery
        return Embeddings(q[generation], q[2], g[generation], g[2], *self.labels, *self.groups)


def generations(seed, queries=9, items=30, dims=(3, 5, 2), tied=False, classes=4, scales=(1.0, 1.0, 1.0)):
    random = np.random.default_rng(seed)

    def rows(count, dim, scale):
        return scale * (random.integers(-1, 2, (count, dim)) if tied else random.normal(size=(count, dim)))

    spaces = list(zip(dims, scales, strict=True))
    return Generations(
        [rows(queries, *space) for space in spaces],
        [rows(items, *space) for space in spaces],
        (random.integers(0, classes, queries), random.integers(0, classes, items)),
        (random.integers(0, 6, queries), random.integers(0, 6, items)),
    )


def orders_of(items, seed, count=2):
    return [[backfill_order(items, (seed, number, turn)) for number in range(count)] for turn in range(2)]


def assert_same(curve, other):
    """The same counts; sums may run in another order."""
    np.testing.assert_allclose(curve.figures["mean_ap"], other.figures["mean_ap"], rtol=1e-13)
    np.testing.assert_allclose(curve.mean_ap, other.mean_ap, rtol=1e-13)
    assert curve.figures.keys() == other.figures.keys()
    for name in curve.figures.keys() - {"mean_ap"}:
        np.testing.assert_array_equal(curve.figures[name], other.figures[name])
        np.testing.assert_allclose(curve.mean(name), other.mean(name), rtol=1e-13)
    assert (curve.queries, curve.queries_without_positive) == (other.queries, other.queries_without_positive)
    np.testing.assert_array_equal(curve.progress, other.progress)


def rows_of(e, rows):
    """The embeddings with the gallery's rows of the given numbers."""
    return Embeddings(**{name: getattr(e, name)[rows if "gallery" in name else slice(None)] for name in FIELDS})
