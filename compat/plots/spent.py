"""The horizontal axis of a plot in what is spent, in place of the completion ratio. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compat.cost import until
from compat.errors import InputError
from compat.plots.curves import Axis
from compat.results import Result

NAMES = {"seconds": "seconds spent", "bytes": "bytes written"}
END = 2.0  # of the axis, in plain backfills: a method that transforms the old gallery writes every item twice


def spent_axis(results: Sequence[Result], quantity: str, items: int | None = None) -> Axis:
    """Return an axis in seconds or bytes, up to twice those of a plain backfill.

    Each result is drawn in units of its own plain backfill, so that seeds measured at different speeds have one axis;
    the unit is the mean one.

    Args:
        results: of one upgrade.
        quantity: seconds or bytes.
        items: size of the gallery; None: the benchmark's.

    Raises:
        InputError: a result without its cost.
    """
    unknown = sorted({result.name for result in results if not result.measured(quantity)})
    if unknown:
        rows = ", ".join(unknown[:3]) + " and others" * (len(unknown) > 3)
        raise InputError(f"x: {quantity} were not measured for {rows}, expected newer results: run the benchmark again")
    count = items or results[0].gallery_items
    unit = float(np.mean([count * result.cost[quantity].plain for result in results]))

    def lines(group: list[Result], metric: str) -> tuple[np.ndarray, np.ndarray]:
        points = [result.against(quantity, metric, items) for result in group]
        x = np.mean([of_seed for of_seed, _ in points], axis=0)
        cut = [until(x, values, END) for _, values in points]
        return unit * cut[0][0], np.array([values for _, values in cut])

    return Axis(f"{NAMES[quantity]}, for {count:,} items", END * unit, lines, unit)
