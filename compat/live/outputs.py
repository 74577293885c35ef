"""Conversion of a model's output: frameworks have array types of their own, and some outputs are not numeric."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_float32(returned: Any) -> np.ndarray | None:
    """Convert a model's output (an array, a tensor or a list) to float32 on the CPU; None unless it is real-valued."""
    if isinstance(returned, list | tuple) and returned and all(isinstance(row, Tensor) for row in returned):
        if len({row.shape for row in returned}) > 1:
            return None
        returned = torch.stack(tuple(returned))
    if isinstance(returned, Tensor):
        if returned.is_complex() or returned.is_quantized:
            return None
        return returned.detach().to_dense().to("cpu", torch.float32, copy=True).numpy()
    try:
        rows = np.asarray(returned)
        with np.errstate(over="ignore"):  # overflow becomes infinite, and is reported by item
            return rows.astype(np.float32) if rows.ndim and rows.dtype.kind in "biufOV" else None
    except (TypeError, ValueError):
        return None


def describe_type(returned: Any) -> str:
    """Name the type of a value and of its elements."""
    found = type(returned).__name__
    if isinstance(returned, list | tuple) and returned:
        return f"a {found} of {type(returned[0]).__name__}"
    kind = getattr(returned, "dtype", None)
    return f"a {found}" if kind is None else f"a {found} of {kind}"
