"""Cost an upgrade in hours and bytes: backfilling, and its alternatives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from compat.curve import area

BYTES = 4  # of a number of an embedding


class MigrationSize(NamedTuple):
    """The size of a migration.

    Attributes:
        items: number of items of the real gallery.
        old_dim: dimension of an old embedding.
        new_dim: dimension of a new one.
        rate: items encoded by the new model per second; None if unknown.
    """

    items: int
    old_dim: int
    new_dim: int
    rate: float | None = None

    @property
    def hours(self) -> float | None:
        """Hours to encode the whole gallery; None if the rate is unknown."""
        return None if self.rate is None else self.items / self.rate / 3600


class Alternative(NamedTuple):
    """An alternative with its quality and its cost.

    Attributes:
        name: in words.
        progress: (T,) share of the items already encoded.
        values: (T,) mAP meanwhile.
        end: mAP at the end.
        gallery_passes: encoder passes for the gallery.
        query_passes: encoder passes per query, meanwhile.
        end_passes: encoder passes per query at the end.
        written: bytes written.
        kept: largest number of bytes of embeddings kept at one time.
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
        """Mean mAP until the end, by the trapezoidal rule."""
        return area(self.progress, self.values)


def backfill(
    gallery: MigrationSize, progress: np.ndarray, values: np.ndarray, passes: int, rewritten: float = 0.0
) -> Alternative:
    """Replace each item's embedding in place, one item after the other.

    Args:
        gallery: size of the migration.
        progress: (T,) completion ratios.
        values: (T,) mAP.
        passes: encoder passes per query meanwhile.
        rewritten: mean number of additional writes per item.
    """
    new = BYTES * gallery.items * gallery.new_dim
    kept = BYTES * gallery.items * max(gallery.old_dim, gallery.new_dim)
    return Alternative(
        "backfill", progress, values, float(values[-1]), gallery.items, passes, 1, round(new * (1 + rewritten)), kept
    )


def switch(gallery: MigrationSize, old: float, new: float) -> Alternative:
    """Fill a second index aside, and switch to it when it is complete (blue/green)."""
    both = BYTES * gallery.items * (gallery.old_dim + gallery.new_dim)
    written = BYTES * gallery.items * gallery.new_dim
    return Alternative(
        "wait and switch", np.array([0.0, 1.0]), np.array([old, old]), new, gallery.items, 1, 1, written, both
    )


def fusion(gallery: MigrationSize, progress: np.ndarray, values: np.ndarray) -> Alternative:
    """Keep two encoders and two indexes for good, fused by ranks."""
    both = BYTES * gallery.items * (gallery.old_dim + gallery.new_dim)
    written = BYTES * gallery.items * gallery.new_dim
    return Alternative(
        "two encoders, ranks fused", progress, values, float(values[-1]), gallery.items, 2, 2, written, both
    )


def nothing(gallery: MigrationSize, old: float) -> Alternative:
    """Keep the old system."""
    kept = BYTES * gallery.items * gallery.old_dim
    return Alternative("no upgrade", np.array([0.0, 1.0]), np.array([old, old]), old, 0, 1, 1, 0, kept)
