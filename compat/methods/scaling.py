"""Drift-Adapter's diagonal scaling, which goes on top of an adapter."""

from __future__ import annotations

import torch
from torch import Tensor


def diagonal_scaling(adapted: Tensor, old: Tensor) -> Tensor:
    """The factor of each dimension that brings adapted queries nearest to old ones: s_j = <a_j, o_j> / <a_j, a_j>.

    Drift-Adapter's DSM (arXiv 2509.23471), of which the abstract could be read, not the equations; the least squares
    are those of the public re-implementation (batuhanzorbeyzengin/rebasis). A dimension that is zero keeps 1. After
    plain least squares all factors are 1: it says something new after a rotation, or a map of low rank.

    Args:
        adapted: (N, D), by the adapter below.
        old: (N, D).

    Returns:
        (D,), in float64.
    """
    adapted, old = adapted.double(), old.double()
    lengths = adapted.square().sum(0)
    return torch.where(lengths > 0, (adapted * old).sum(0) / lengths.clamp_min(1e-300), 1.0)
