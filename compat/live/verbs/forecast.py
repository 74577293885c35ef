"""What a migration will take and what queries will see of it, by a sample: no label is looked at."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import torch

from compat.errors import InputError
from compat.experience.agreement import CandidateSearch, agreement, is_better
from compat.live.extraction import Unreachable, extract
from compat.live.items import Journal, Work
from compat.live.models import Models
from compat.live.store import Store
from compat.methods.upgrade import through

SAMPLE = 256  # items
NEAREST = 10  # that a query is looked at for
FEWEST = 4 * NEAREST  # items that say anything
BYTES = 4  # of a number


class Forecast(NamedTuple):
    """What is to be expected.

    Attributes:
        items: that will be extracted.
        bytes: of the store now, and at the peak, when all items have all their embeddings.
        seconds: for one worker, by the speed of extraction alone; None: the model did not answer.
        agreement: of the ranking of queries with that of the new model: mean average precision with which the items
            that it finds nearest are found, before the migration, halfway and after it; None: it was not looked at.
        worse: whether it surely is worse halfway than before.
    """

    items: int
    bytes: tuple[int, int]
    seconds: float | None
    agreement: tuple[float, float, float] | None
    worse: bool


def forecast(store: Store, models: Models, journal: Journal, seed: int = 0) -> Forecast:
    """Of a migration that was planned, from some of its items.

    Raises:
        InputError: a new model whose embeddings change their dimension from call to call.
    """
    upgrade = models.upgrade_for(journal.dim, journal.new_dim)
    columns = 2 if upgrade.transforms_gallery or models.learner is not None else 1
    size = store.size()
    peak = size + journal.items * journal.new_dim * BYTES * columns
    ids = store.gallery().ids
    chosen = np.random.default_rng(seed).permutation(len(ids))[:SAMPLE]
    items = [item for n in chosen if (item := store.get(ids[n])) is not None and item.old is not None]
    try:
        seconds, new = time_extraction(models, [Work(i.id, i.version, i.content) for i in items], journal.batch)
    except Unreachable:
        return Forecast(journal.items, (size, peak), None, None, False)
    pairs = [(item.old, new[item.id]) for item in items if item.id in new and item.old is not None]
    found, worse = None, False
    dim = upgrade.new.project.out_features
    if wrong := next((id for id, row in new.items() if row.shape != (dim,)), None):
        shape = f"shape {new[wrong].shape} of item {wrong!r}"
        raise InputError(f"models.new: {shape}, expected ({dim},), as when the migration was planned")
    if len(pairs) >= FEWEST and journal.distance == "cosine" and not models.merge.by_rank:
        old, after = (torch.from_numpy(np.stack(rows)) for rows in zip(*pairs, strict=True))
        found, worse = compare(models, journal, old, after)
    return Forecast(journal.items, (size, peak), seconds * journal.items, found, worse)


def time_extraction(models: Models, work: list[Work], batch: int) -> tuple[float, dict[str, np.ndarray]]:
    """Seconds for each item, the first batch left out where there are more, and embeddings by id."""
    step = min(batch, max(len(work) // 2, 1))
    took, new = [], {}
    for start in range(0, len(work), step):
        begun, some = time.perf_counter(), work[start : start + step]
        new.update({id: vector for id, _, vector in extract(models.new, some).done})
        took.append((time.perf_counter() - begun) / len(some))
    return float(np.mean(took[1:] or took)), new


def compare(
    models: Models, journal: Journal, old: torch.Tensor, new: torch.Tensor
) -> tuple[tuple[float, float, float], bool]:
    """`Forecast.agreement` and `worse`, by embeddings of some items (N, D_old) and (N, D_new), each a query too."""
    upgrade = models.upgrade_for(journal.dim, journal.new_dim)
    queries, items = through(upgrade.query, old, new), through(upgrade.gallery, old, new)
    way = CandidateSearch(queries[0], items[0], models.merge if models.merge.changes else None)
    before, half, after = (agreement(way, items[1], share, NEAREST) for share in (0.0, 0.5, 1.0))
    means = float(before.mean()), float(half.mean()), float(after.mean())
    return means, is_better(before - half)
