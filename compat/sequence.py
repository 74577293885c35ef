"""Two upgrades of one gallery, the second starting before the first has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from compat.backfill import Curve, backfill_curve, joined
from compat.embeddings import Embeddings
from compat.errors import InputError
from compat.progress import backfill_steps, completion_ratios


def overlapping_curve(
    stale: Embeddings,
    reached: Embeddings,
    start: float,
    first_orders: Sequence[np.ndarray],
    second_orders: Sequence[np.ndarray],
    progress: Any = 11,
    before: Embeddings | None = None,
    **options: Any,
) -> Curve:
    """Replay the second of two upgrades, starting when the first one is at `start`.

    The first backfill stops there, as its model is already outdated: the second one goes through the whole gallery and
    moves each item straight to the newest space, from the oldest one or from the middle one. So the gallery holds three
    generations until it ends, and the query is compared with each in its own space. (Our definition; we know of no
    publication replaying this.)

    Args:
        stale: every item as if the first upgrade had not reached it, and in the newest space.
        reached: every item as if the first upgrade had reached it, and in the newest space.
        start: progress of the first upgrade at the start of the second, in [0, 1]; at 1 all items are `reached`.
        first_orders: S permutations of the gallery (G,): the backfill orders of the first upgrade.
        second_orders: S permutations likewise, of the second one.
        progress: of the second upgrade; see `backfill_curve`.
        before: the old system, of the whole gallery; see `backfill_curve`.
        options: of `backfill_curve`.

    Returns:
        The `Curve`, over the second upgrade's progress.

    Raises:
        InputError: orders that are no permutations of the gallery, unequal numbers of orders, a start outside [0, 1],
            different galleries in `reached` and `stale`; any error of `backfill_curve`.
    """
    for name in ("gallery_new", "gallery_groups", *(("gallery_labels",) if stale.relevance is None else ())):
        if not torch.equal(getattr(stale, name), getattr(reached, name)):
            raise InputError(f"{name}: differs between stale and reached, expected the same gallery")
    items = len(stale.gallery_old)
    done = backfill_steps(first_orders, items, completion_ratios([start])) == 0
    backfill_steps(second_orders, items, completion_ratios(progress))
    if len(done) != len(second_orders):
        raise InputError(f"second_orders: {len(second_orders)}, expected {len(done)} as of the first upgrade")
    curves = []
    for reached_now, second in zip(done, second_orders, strict=True):
        rows = [np.flatnonzero(~reached_now), np.flatnonzero(reached_now)]
        parts = [e.subset(items=of) for e, of in zip((stale, reached), rows, strict=True) if len(of)]
        place = np.argsort(np.concatenate(rows))  # of an item among the items of both parts
        old = None if before is None else [before.subset(items=of) for of in rows if len(of)]
        curves.append(backfill_curve(parts, place[np.asarray(second)], progress, before=old, **options))
    return joined(curves, 0)
