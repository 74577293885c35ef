"""Find signs of misleading figures: zero rows, duplicates, mixed-up rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

ROWS = 2**14  # looked at at a time
CLOSE = 1e-6  # cosine distance of two embeddings of one image, computed twice


def zero_rows(rows: Any) -> int:
    """Count the zero rows of (N, D), at cosine distance 1 from everything."""
    return int(sum((~np.any(part, axis=1)).sum() for part in _parts(rows)))


def equal_rows(rows: Any, others: Any) -> int:
    """Count the rows of (N, D) occurring among others (M, D), to the last bit; by a digest, in bounded memory."""
    known = {digest for part in _parts(others) for digest in _digests(part)}
    return sum(digest in known for part in _parts(rows) for digest in _digests(part))


def close_rows(rows: torch.Tensor, others: torch.Tensor, skip: torch.Tensor | None = None) -> int:
    """Count the rows of (N, D) with a row of (M, D) within a cosine distance of 1e-6; zero rows have none.

    Args:
        rows: few, as all distances are computed.
        others: many.
        skip: (N, M) bool, pairs to leave out, such as a query and its own image.
    """
    found = torch.zeros(len(rows), dtype=torch.bool)
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    start = 0
    for part in others.split(ROWS):
        near = unit @ torch.nn.functional.normalize(part.double(), dim=1).T > 1 - CLOSE
        if skip is not None:
            near &= ~skip[:, start : start + len(part)]
        found |= near.any(1)
        start += len(part)
    return int(found.sum())


def _parts(rows: Any) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), ROWS):
        yield np.ascontiguousarray(rows[start : start + ROWS])


def _digests(part: np.ndarray) -> Iterator[bytes]:
    for row in part + 0:  # minus zero becomes zero
        yield hashlib.blake2b(row.tobytes(), digest_size=12).digest()
