"""Completion ratios and orders: when each item is backfilled. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compat.errors import InputError


def backfill_order(items: int, seed: int | Sequence[int]) -> np.ndarray:
    """Draw a random backfill order of a gallery: a permutation (G,) int64."""
    return np.random.default_rng(seed).permutation(items)


def completion_ratios(progress: Any) -> np.ndarray:
    """Return the completion ratios (T,): the given ones, or this many from 0 to 1.

    Raises:
        InputError: a ratio outside [0, 1], not ascending, none at all.
    """
    if isinstance(progress, int):
        if progress < 2:
            raise InputError(f"progress: {progress} points, expected at least 2, or a list of completion ratios")
        return np.linspace(0, 1, progress)
    points = np.atleast_1d(np.asarray(progress, dtype=float))
    if points.ndim != 1 or len(points) == 0:
        raise InputError(f"progress: shape {points.shape}, expected a list of completion ratios")
    for point in points:
        if not 0 <= point <= 1:
            raise InputError(f"progress: {point:g}, expected completion ratios in [0, 1]")
    if (np.diff(points) <= 0).any():
        raise InputError(f"progress: {points.tolist()}, expected ascending completion ratios")
    return points


def backfill_steps(order: Any, items: int, points: np.ndarray) -> np.ndarray:
    """Return the first completion ratio after each item's backfill, T for never: (S, G) int64.

    Args:
        order: a permutation of the gallery, (G,), or several, (S, G).
        items: G.
        points: (T,) completion ratios.

    Raises:
        InputError: not permutations of 0 to G - 1; the message names the first duplicate.
    """
    try:
        orders = np.atleast_2d(np.asarray(order.cpu() if hasattr(order, "cpu") else order))
    except ValueError as error:
        raise InputError(f"order: {error}, expected ({items},) or (orders, {items})") from error
    if orders.ndim != 2 or orders.shape[1] != items or len(orders) == 0:
        raise InputError(f"order: shape {np.shape(order)}, expected ({items},) or (orders, {items})")
    if not np.issubdtype(orders.dtype, np.integer):
        raise InputError(f"order: {orders.dtype}, expected integers")
    backfilled = np.floor(points * items).astype(np.int64)
    first = np.searchsorted(backfilled, np.arange(items), side="right")
    steps = np.empty(orders.shape, dtype=np.int64)
    for row, one in zip(steps, orders, strict=True):
        if one.min() < 0 or one.max() >= items:
            wrong = one[(one < 0) | (one >= items)][0]
            raise InputError(f"order: {wrong}, expected a permutation of 0 to {items - 1}")
        values, where = np.unique(one, return_index=True)
        if len(values) < items:
            again = one[np.setdiff1d(np.arange(items), where)[0]]
            raise InputError(f"order: {again} twice, expected a permutation of 0 to {items - 1}")
        row[one] = first
    return steps
