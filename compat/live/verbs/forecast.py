"""Forecast of a migration's cost and effect on queries, from a sample without labels."""

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
NEAREST = 10  # nearest items of a query
FEWEST = 4 * NEAREST  # minimum sample
BYTES = 4  # bytes per number


class Forecast(NamedTuple):
    """Expected cost and effect.

    Attributes:
        items: number of items to extract.
        bytes: size of the store now, and at its peak, when all items have all embeddings.
        seconds: extraction time of one worker; None: the model did not answer.
        agreement: agreement of the ranking with the new model's before the migration, halfway and after it: mean
            average precision, with the items nearest under the new model as relevant; None: not measured.
        worse: whether it is significantly lower halfway than before.
    """

    items: int
    bytes: tuple[int, int]
    seconds: float | None
    agreement: tuple[float, float, float] | None
    worse: bool


def forecast(store: Store, models: Models, journal: Journal, seed: int = 0) -> Forecast:
    """Forecast a planned migration from some of its items.

    Raises:
        InputError: a new model whose dimension changes from call to call.
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
    by_distance = not models.merge.by_rank and not models.merge.by_query
    if len(pairs) >= FEWEST and journal.distance == "cosine" and by_distance:
        old, after = (torch.from_numpy(np.stack(rows)) for rows in zip(*pairs, strict=True))
        found, worse = compare(models, journal, old, after)
    return Forecast(journal.items, (size, peak), seconds * journal.items, found, worse)


def time_extraction(models: Models, work: list[Work], batch: int) -> tuple[float, dict[str, np.ndarray]]:
    """Return the seconds per item, without the first of several batches, and embeddings by id."""
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
    """Compute `Forecast.agreement` and `worse` from embeddings (N, D_old), (N, D_new) of items, each also a query."""
    upgrade = models.upgrade_for(journal.dim, journal.new_dim)
    queries, items = through(upgrade.query, old, new), through(upgrade.gallery, old, new)
    way = CandidateSearch(queries[0], items[0], models.merge if models.merge.changes else None)
    before, half, after = (agreement(way, items[1], share, NEAREST) for share in (0.0, 0.5, 1.0))
    means = float(before.mean()), float(half.mean()), float(after.mean())
    return means, is_better(before - half)
