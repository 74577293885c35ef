"""A training batch of a head."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Pair(NamedTuple):
    """A batch embedded by both frozen models: phi_old(x) (B, D_old), phi_new(x) (B, D_new), labels (B,)."""

    old: Tensor
    new: Tensor
    label: Tensor
