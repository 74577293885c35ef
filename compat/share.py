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
        images: share of the images of each of these classes, drawn with a fixed seed.

    Raises:
        InputError: a share outside (0, 1].
    """

    classes: float | tuple[float, float] = 1.0
    images: float = 1.0

    def __post_init__(self) -> None:
        low, *high = self.classes if isinstance(self.classes, Sequence) else (0.0, self.classes)
        if len(high) != 1 or not 0 <= low < high[0] <= 1:
            raise InputError(f"sees.classes: {self.classes}, expected a share in (0, 1] or a pair of shares")
        if not 0 < self.images <= 1:
            raise InputError(f"sees.images: {self.images}, expected a share in (0, 1]")

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of classes, as shares (from, to)."""
        return (0.0, self.classes) if isinstance(self.classes, (int, float)) else self.classes
