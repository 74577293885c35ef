"""Rankings by keys, many queries at a time: what reports need beyond the replay."""

from __future__ import annotations

import torch
from torch import Tensor

MEMORY = 2**27  # bytes of the arrays of a chunk of queries
ARRAYS = 12  # of (queries, items) and 8 bytes that are there at a time


def chunk(items: int) -> int:
    """How many queries at a time."""
    return max(1, MEMORY // (8 * ARRAYS * items))


def ranks(keys: Tensor) -> Tensor:
    """Of each item in its row, (Q, G) int64: how many items have its key or a lower one; keys of equal items tie."""
    return torch.searchsorted(keys.sort(1).values, keys, right=True)


def average_precision(keys: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor]:
    """Of rankings by ascending keys, as `compat.backfill_curve` defines it: equal keys are one group.

    Args:
        keys: (Q, G) float64; infinite for items that are not ranked, which are not relevant.
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
