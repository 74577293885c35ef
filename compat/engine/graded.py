"""The ranking of judged items by distance and grade, from the number of items at each one's distance or closer."""

from __future__ import annotations

import torch
from torch import Tensor

from compat.engine.exact import NO_RANK
from compat.engine.kernels import compiled


@compiled
def _first_of(reach, grades, least, k, ranks, of_ranks):
    """Write the first ranks up to k and their grades, (C, Q, K), from `reach` (C, Q, J) and `grades` (Q, J).

    An item's rank is at most J - 1 below its reach, so only items with a reach below k + J can have one up to k.
    """
    cells, queries, most = reach.shape
    at, its = reach[0, 0].copy(), grades[0].copy()
    for c in range(cells):
        for q in range(queries):
            n = 0
            for j in range(most):
                x, grade = reach[c, q, j], grades[q, j]
                if grade < least or x >= k + most:
                    continue
                place = n
                while place > 0 and (at[place - 1] > x or (at[place - 1] == x and its[place - 1] > grade)):
                    at[place], its[place] = at[place - 1], its[place - 1]
                    place -= 1
                at[place], its[place] = x, grade
                n += 1
            behind = 0  # listed items at the distance of this one, ranked after it
            for place in range(n - 1, -1, -1):
                behind = behind + 1 if place < n - 1 and at[place + 1] == at[place] else 0
                if place < ranks.shape[2]:
                    ranks[c, q, place], of_ranks[c, q, place] = at[place] - behind, its[place]


def first_judged(reach: Tensor, grades: Tensor, least: int, k: int) -> tuple[Tensor, Tensor]:
    """Rank the judged items by distance, at one distance by grade, the lowest first and unjudged items before them.

    Args:
        reach: (S, T, Q, J), see `compat.engine.exact.Figures`.
        grades: (Q, J).
        least: the lowest grade of a ranked item.
        k: cut-off.

    Returns:
        Ranks among all items, ascending, those beyond k perhaps left out, `NO_RANK` after the last, and grades, 0
            there, (S, T, Q, K) each, K at most k.
    """
    most = reach.shape[-1]
    shape = (*reach.shape[:-1], min(k, most))
    ranks, of_ranks = reach.new_full(shape, NO_RANK), grades.new_zeros(shape)
    if 0 in shape:
        return ranks, of_ranks
    if reach.device.type == "cpu":
        cells = (-1, *shape[2:])
        given = reach.reshape(cells[0], *reach.shape[2:]).contiguous().numpy(), grades.contiguous().numpy()
        _first_of(*given, least, k, ranks.view(cells).numpy(), of_ranks.view(cells).numpy())
        return ranks, of_ranks
    kept = (grades >= least).expand_as(reach)
    span = int(grades.max()) + 1
    keys = (reach.long() * span + grades).where(kept, NO_RANK * span).sort(-1).values
    at, its = keys // span, keys % span
    behind = torch.searchsorted(at, at, right=True) - 1 - torch.arange(most, device=at.device)
    known = at < NO_RANK
    ranks, of_ranks = (at - behind).where(known, NO_RANK).int(), its.where(known, 0)
    return ranks[..., :k], of_ranks[..., :k]
