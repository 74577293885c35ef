"""Drift-Adapter's diagonal scaling, on top of an adapter."""

from __future__ import annotations

import torch
from torch import Tensor


def diagonal_scaling(adapted: Tensor, old: Tensor) -> Tensor:
    """Fit the factor of each dimension that brings adapted queries nearest to old ones: s_j = <a_j, o_j> / <a_j, a_j>.

    Drift-Adapter's DSM (arXiv 2509.23471); only its abstract was available, so the least squares are those of the
    public re-implementation (batuhanzorbeyzengin/rebasis). A dimension of zeros keeps 1. After plain least squares, of
    any rank, all factors are 1; after a rotation or a penalty they differ.

    Args:
        adapted: (N, D), outputs of the adapter.
        old: (N, D).

    Returns:
        (D,), in float64.
    """
    adapted, old = adapted.double(), old.double()
    lengths = adapted.square().sum(0)
    return torch.where(lengths > 0, (adapted * old).sum(0) / lengths.clamp_min(1e-300), 1.0)
