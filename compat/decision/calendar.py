"""An upgrade in hours and bytes: backfilling, and what else one could do."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from compat.curve import area

BYTES = 4  # of a number of an embedding


class MigrationSize(NamedTuple):
    """What is to be migrated.

    Attributes:
        items: of the real gallery.
        old_dim: numbers of an old embedding.
        new_dim: numbers of a new one.
        rate: items that the new model encodes in a second; None where nobody said.
    """

    items: int
    old_dim: int
    new_dim: int
    rate: float | None = None

    @property
    def hours(self) -> float | None:
        """Of encoding all of it."""
        return None if self.rate is None else self.items / self.rate / 3600


class Alternative(NamedTuple):
    """What one can do, and what it costs.

    Attributes:
        name: in words.
        progress: (T,) share of the items that are encoded.
        values: (T,) mAP meanwhile.
        end: mAP once all is done.
        gallery_passes: of an encoder, for the gallery.
        query_passes: of an encoder for each query, meanwhile.
        end_passes: of an encoder for each query, once all is done.
        written: bytes.
        kept: bytes of embeddings at the most, at one time.
    """

    name: str
    progress: np.ndarray
    values: np.ndarray
    end: float
    gallery_passes: int
    query_passes: int
    end_passes: int
    written: int
    kept: int

    @property
    def meanwhile(self) -> float:
        """mAP on average until all is done, by the trapezoidal rule."""
        return area(self.progress, self.values)


def backfill(
    gallery: MigrationSize, progress: np.ndarray, values: np.ndarray, passes: int, rewritten: float = 0.0
) -> Alternative:
    """Items take their new embedding one after the other, in the place of the old one.

    Args:
        gallery: what is migrated.
        progress: (T,).
        values: (T,) mAP.
        passes: of an encoder for each query meanwhile.
        rewritten: how often each item is written besides, on average.
    """
    new = BYTES * gallery.items * gallery.new_dim
    kept = BYTES * gallery.items * max(gallery.old_dim, gallery.new_dim)
    return Alternative(
        "backfill", progress, values, float(values[-1]), gallery.items, passes, 1, round(new * (1 + rewritten)), kept
    )


def switch(gallery: MigrationSize, old: float, new: float) -> Alternative:
    """A second index is filled aside, and takes over when it is complete (blue/green)."""
    both = BYTES * gallery.items * (gallery.old_dim + gallery.new_dim)
    written = BYTES * gallery.items * gallery.new_dim
    return Alternative(
        "wait and switch", np.array([0.0, 1.0]), np.array([old, old]), new, gallery.items, 1, 1, written, both
    )


def fusion(gallery: MigrationSize, progress: np.ndarray, values: np.ndarray) -> Alternative:
    """Two encoders and two indexes, fused by ranks, for good."""
    both = BYTES * gallery.items * (gallery.old_dim + gallery.new_dim)
    written = BYTES * gallery.items * gallery.new_dim
    return Alternative(
        "two encoders, ranks fused", progress, values, float(values[-1]), gallery.items, 2, 2, written, both
    )


def nothing(gallery: MigrationSize, old: float) -> Alternative:
    """The old system stays."""
    kept = BYTES * gallery.items * gallery.old_dim
    return Alternative("no upgrade", np.array([0.0, 1.0]), np.array([old, old]), old, 0, 1, 1, 0, kept)
