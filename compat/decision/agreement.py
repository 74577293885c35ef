"""Measure how stable a decision is: decide on half of the queries, compare with the other half."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compat.decision.choice import Effort, choose, halves, hardly, regret
from compat.decision.gain import advice, decide


class Agreement(NamedTuple):
    """Shares of the splits.

    Attributes:
        splits: number of splits of the queries into random halves.
        verdict: both halves say to upgrade, or both not to, or both leave it open.
        opposed: one half says to upgrade, and the other not to.
        same_way: both choose the same way.
        good_way: on the other half the chosen way is hardly or not significantly behind the best one there.
        behind: mean difference in area to the best way there.
    """

    splits: int
    verdict: float
    opposed: float
    same_way: float
    good_way: float
    behind: float


def agreement(
    areas: np.ndarray,
    efforts: Sequence[Effort],
    ends: tuple[np.ndarray, np.ndarray],
    least: float,
    splits: int = 20,
) -> Agreement:
    """Decide on one half and evaluate on the other, for several splits.

    Args:
        areas: (C, Q) the area under each query's curve, for each way.
        efforts: of each way.
        ends: (Q,) average precision of the old and of the new system, of these queries.
        least: smallest gain worth an upgrade.
        splits: number of splits.
    """
    old, new = ends
    verdict, opposed, same, good, behind = [], [], [], [], []
    for seed in range(splits):
        one, other = halves(areas.shape[1], seed)
        says = [advice(decide(old[half], new[half], least).outcome) for half in (one, other)]
        near = [hardly(old[half], new[half]) for half in (one, other)]
        chosen, also = (choose(areas[:, half], efforts, n) for half, n in zip((one, other), near, strict=True))
        there = regret(areas[:, other], chosen)
        verdict.append(says[0] == says[1])
        opposed.append({*says} == {True, False})
        same.append(chosen == also)
        good.append(not there.surely or there.behind <= near[1])
        behind.append(there.behind)
    return Agreement(splits, *(float(np.mean(found)) for found in (verdict, opposed, same, good, behind)))
