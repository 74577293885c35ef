"""The cost of a backfill, and its curve against that cost in place of the completion ratio: pure numpy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from compat.curve import Values, area


@dataclass(frozen=True)
class Cost:
    """What a backfill spends of one quantity, seconds or bytes.

    Attributes:
        plain: for each item, by a plain backfill: the new model's embedding, and nothing else.
        item: for each item that is migrated.
        at: completion ratios (K,) at which something is learned or rewritten, ascending; 0 is the start.
        fixed: (K,) spent at each of them whatever the size of the gallery, such as the training of a head.
        each: (K,) spent at each of them, divided by the number of items in the gallery.
    """

    plain: float
    item: float
    at: list[float] = field(default_factory=list)
    fixed: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)


def spent(cost: Cost, progress: Values, items: int) -> np.ndarray:
    """Return what is spent when a curve reaches each completion ratio.

    Args:
        cost: of the backfill.
        progress: (T,) completion ratios; what falls on one of them is spent there.
        items: size of the gallery.

    Returns:
        (T,): items * progress * item + the sum of (fixed + items * each) over all `at` up to the ratio.

    Example:
        >>> spent(Cost(plain=2, item=2, at=[0.0, 0.5], fixed=[3, 0], each=[0, 1]), [0.0, 0.5, 1.0], items=10).tolist()
        [3.0, 23.0, 33.0]
    """
    p, steps = np.asarray(progress, float), np.asarray(cost.fixed, float) + items * np.asarray(cost.each, float)
    return items * p * cost.item + (np.asarray(cost.at, float) <= p[:, None]) @ steps


def against_cost(cost: Cost, progress: Values, values: Values, old: float, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a curve against what is spent.

    The old system serves until the start is paid. From one completion ratio to the next, the value stays until
    rewriting and refits are paid, then goes straight to the next value while the items are migrated.

    Args:
        cost: of the backfill.
        progress: (T,) completion ratios.
        values: (T,) of a figure.
        old: the figure of the old system.
        items: size of the gallery.

    Returns:
        What is spent and the value, at 2T + 1 points, the first at 0.

    Example:
        >>> cost = Cost(plain=1, item=1, at=[0.0, 1.0], fixed=[5, 0], each=[0, 0.5])
        >>> x, y = against_cost(cost, [0.0, 1.0], [0.25, 0.75], old=0.125, items=10)
        >>> x.tolist(), y.tolist()
        ([0.0, 5.0, 5.0, 10.0, 20.0], [0.125, 0.125, 0.25, 0.25, 0.75])
    """
    v, x = np.asarray(values, float), spent(cost, progress, items)
    migrated = items * cost.item * np.diff(np.asarray(progress, float))
    paid = np.maximum(x[1:] - migrated, x[:-1])  # rounding may put it before
    between = np.stack([np.stack([paid, x[1:]]), np.stack([v[:-1], v[1:]])]).transpose(0, 2, 1).reshape(2, -1)
    return np.concatenate([[0, x[0], x[0]], between[0]]), np.concatenate([[old, old, v[0]], between[1]])


def until(x: np.ndarray, values: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut a curve of `against_cost` at a limit, or continue its last value up to it.

    Example:
        >>> until(np.array([0.0, 10.0]), np.array([0.0, 1.0]), 5.0)
        (array([0., 5.]), array([0. , 0.5]))
    """
    end = int(np.searchsorted(x, limit))  # the first point at the limit: below a step there
    last = float(np.interp(limit, x[: end + 1], values[: end + 1]))
    return np.append(x[:end], limit), np.append(values[:end], last)


def mean_up_to(x: np.ndarray, values: np.ndarray, budget: float) -> float:
    """Average a curve of `against_cost` over what is spent, from 0 to a budget.

    Example:
        >>> mean_up_to(np.array([0.0, 5.0, 5.0, 20.0]), np.array([0.0, 0.0, 1.0, 1.0]), 10.0)
        0.5
    """
    return area(*until(x, values, budget))
