"""The gain between two labelled heads: how much of an upgrade is left once both models have one. Imports no torch.

The row `independent_rho` serves rho(old) before the backfill and rho(new) after it, each head trained alone on its
frozen model. Its ends replace the plain old and new model as the denominator of a gain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from compat.curve import relative_gain
from compat.results.result import Result

HEADS = "independent_rho"
Training: TypeAlias = tuple[str, str, int]  # benchmark, upgrade, seed


def head_ends(results: Iterable[Result]) -> dict[Training, tuple[float, float]]:
    """Return the mAP of rho(old) and of rho(new) for each benchmark, upgrade and seed with a row of both heads."""
    return {training(r): (r.mean_ap[0], r.mean_ap[-1]) for r in results if r.method == HEADS}


def gain_between_heads(result: Result, ends: Mapping[Training, tuple[float, float]]) -> float:
    """Return (AUC - rho(old)) / (rho(new) - rho(old)) in mAP; NaN without the heads, or if the new one is no better.

    Args:
        result: one run.
        ends: from `head_ends`, of the same results.
    """
    found = ends.get(training(result))
    return math.nan if found is None else relative_gain(result.auc, *found)


def training(result: Result) -> Training:
    """Return what the results of one training share."""
    return result.benchmark, result.upgrade, result.seed
