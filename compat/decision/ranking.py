"""Rank items by keys, many queries at a time, for reports."""

from __future__ import annotations

import torch
from torch import Tensor

MEMORY = 2**27  # bytes of the arrays of a chunk of queries
ARRAYS = 12  # (queries, items) pairs of 8 bytes in memory at a time


def chunk(items: int) -> int:
    """Return the number of queries per chunk."""
    return max(1, MEMORY // (8 * ARRAYS * items))


def ranks(keys: Tensor) -> Tensor:
    """Rank each item in its row, (Q, G) int64: the number of items with its key or a lower one; equal keys tie."""
    return torch.searchsorted(keys.sort(1).values, keys, right=True)


def average_precision(keys: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor]:
    """Return the average precision of rankings by ascending keys, as `compat.backfill_curve` defines it.

    Equal keys are one group.

    Args:
        keys: (Q, G) float64; infinite for unranked items, which are not relevant.
        relevant: (Q, G) bool.

    Returns:
        (Q,) average precision, NaN without a relevant item; (Q,) rank of the first relevant item, 0 without one.
    """
    count = relevant.sum(1)
    at = ranks(keys)
    among = torch.searchsorted(keys.where(relevant, torch.inf).sort(1).values, keys, right=True)
    precision = (among.double() / at).where(relevant, 0.0).sum(1) / count
    nearest = keys.where(relevant, torch.inf).argmin(1, keepdim=True)
    first = 1 + (at - among).gather(1, nearest)[:, 0]
    return precision, first.where(count > 0, 0)
