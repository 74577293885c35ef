"""The part of the training data of a generation of the model. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compat.errors import InputError


@dataclass(frozen=True)
class Share:
    """The part of the training data of a generation of the model: the upgrade settings of the literature.

    Args:
        classes: share of the training classes, the first ones by index; a pair of shares: a range of them. 0.5 is the
            first half, (0.3, 1) all but the first 30 %.
        images: share of the images of each of these classes, drawn with a fixed seed; a pair of shares: a range of the
            drawing, so that (0, 0.5) and (0.5, 1) have no image in common.

    Raises:
        InputError: a share outside (0, 1].
    """

    classes: float | tuple[float, float] = 1.0
    images: float | tuple[float, float] = 1.0

    def __post_init__(self) -> None:
        for name in ("classes", "images"):
            bounds_of(getattr(self, name), f"sees.{name}")

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of classes, as shares (from, to)."""
        return bounds_of(self.classes)

    @property
    def drawn(self) -> tuple[float, float]:
        """The range of each class's images in their drawing, as shares (from, to)."""
        return bounds_of(self.images)


def bounds_of(share: float | Sequence[float], field: str = "share") -> tuple[float, float]:
    """Return a share, or a pair of shares, as (from, to).

    Raises:
        InputError: outside (0, 1], or no ascending pair.
    """
    low, *high = share if isinstance(share, Sequence) else (0.0, share)
    if len(high) != 1 or not 0 <= low < high[0] <= 1:
        raise InputError(f"{field}: {share}, expected a share in (0, 1] or a pair of shares")
    return low, high[0]
