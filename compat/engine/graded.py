"""Sums over the judged items ranked first, from the number of items at each one's distance or closer."""

from __future__ import annotations

import torch
from torch import Tensor

from compat.engine.exact import NO_RANK
from compat.engine.kernels import compiled


@compiled
def _add_first(reach, grades, gains, least, discount, out):
    """Add up gain times discount of the first items, (C, Q) `out`, from `reach` (C, Q, J) and `grades` (Q, J).

    An item's rank is at most J - 1 below its reach, so only items with a reach below k + J can have one up to k.
    """
    cells, queries, most = reach.shape
    k = len(discount) - 1
    at, its, worth = reach[0, 0].copy(), grades[0].copy(), gains[0].copy()
    for c in range(cells):
        for q in range(queries):
            n = 0
            for j in range(most):
                x, grade = reach[c, q, j], grades[q, j]
                if x >= k + most or grade < least:
                    continue
                place = n
                while place > 0 and (at[place - 1] > x or (at[place - 1] == x and its[place - 1] > grade)):
                    at[place], its[place], worth[place] = at[place - 1], its[place - 1], worth[place - 1]
                    place -= 1
                at[place], its[place], worth[place] = x, grade, gains[q, j]
                n += 1
            total, end = 0.0, 0  # the first place at another distance
            for place in range(n):
                while end < n and (end <= place or at[end] == at[place]):
                    end += 1
                rank = at[place] - (end - 1 - place)
                if rank > k:
                    break
                total += worth[place] * discount[rank]
            out[c, q] = total


def sum_of_first(reach: Tensor, grades: Tensor, gains: Tensor, least: int, discount: Tensor) -> Tensor:
    """Add up gain times discount of rank over judged items, from the first rank on.

    Items are ranked by distance, at one distance by grade, the lowest first, and those without a judgement before them.

    Args:
        reach: (S, T, Q, J), see `compat.engine.exact.Figures`.
        grades: (Q, J).
        gains: (Q, J) float64, of each item.
        least: the lowest grade of a counted item.
        discount: (k + 1,) float64, of the ranks up to k; 0 is none.

    Returns:
        (S, T, Q) float64.
    """
    total = gains.new_zeros(reach.shape[:3])
    if 0 in reach.shape:
        return total
    if reach.device.type == "cpu":
        given = [values.contiguous().numpy() for values in (reach.reshape(-1, *reach.shape[2:]), grades, gains)]
        _add_first(*given, least, discount.numpy(), total.view(-1, reach.shape[2]).numpy())
        return total
    most, span = reach.shape[3], int(grades.max()) + 2
    keys, order = (reach.long() * span + grades).where(grades >= least, NO_RANK * span).sort(-1)
    at = keys // span
    rank = at - (torch.searchsorted(at, at, right=True) - 1 - torch.arange(most, device=at.device))
    worth = gains.expand_as(reach).gather(-1, order) * discount[rank.clamp(0, len(discount) - 1)]
    return worth.where(rank < len(discount), 0.0).cumsum(-1)[..., -1]
