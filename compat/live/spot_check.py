"""Spot checks of vectors from another engine: the new model embeds some of the items again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from compat.errors import InputError
from compat.live import breaker
from compat.live.canaries import CANARIES, reembed
from compat.live.extraction import Extraction, extract
from compat.live.items import Item, Journal, Work
from compat.live.models import Models
from compat.live.serving import StoredModel
from compat.live.store import Store

NAMED = 8  # items named in a warning


def spot_check(store: Store, models: Models, batch: Extraction, file: Path, journal: Journal) -> Extraction:
    """Check a batch of a file by embedding random rows of it again.

    If one row differs, or none can be read here, every row is embedded again; rows that differ are dropped with a
    warning.

    Args:
        store: the store.
        models: models of the migration.
        batch: embeddings as the new model returns them, and failures.
        file: file of the batch.
        journal: journal of the migration.

    Returns:
        The batch, without the rows that differ.

    Raises:
        InputError: most vectors differ from the new model's, or none can be compared; or most rows are failures, and
            the new model reads these items here or is broken here too.
    """
    check_failures(store, models, batch, file, journal)
    found = reembed(models.new, list(islice(unchanged_items(store, batch.done), CANARIES)), "new", journal.distance)
    if not found.drifted and (found.unchanged or not found.unread):
        return batch
    found = reembed(models.new, list(unchanged_items(store, batch.done)), "new", journal.distance, journal.batch)
    if found.mostly_drifted:
        like = f"like {len(found.drifted)} of {len(found.drifted) + len(found.unchanged)}"
        made = f"is not reproduced by models.new, {like}"
        raise InputError(f"vector: of item {found.drifted[0]!r} in {file} {made}, expected its embedding")
    if not found.unchanged:
        id, why = next(iter(found.unread.items()))
        raise InputError(f"vector: of item {id!r} in {file}, but {why}, expected items which models.new reads here")
    if found.drifted:
        ids = ", ".join(map(repr, found.drifted[:NAMED]))
        left = f"{len(found.drifted)} of {len(batch.done)} ({ids}) are not reproduced by models.new, and are left out"
        warnings.warn(f"vector: in {file} {left}", stacklevel=2)
    return Extraction([row for row in batch.done if row[0] not in found.drifted], batch.failed)


def unchanged_items(store: Store, rows: Sequence[tuple[str, int, np.ndarray]]) -> Iterator[Item]:
    """Yield the items of rows in random order, with their vectors; items written since the extraction are skipped."""
    first = {id: (version, vector) for id, version, vector in reversed(rows)}  # first row of an id
    ids = list(first)
    for n in np.random.default_rng().permutation(len(ids)):
        version, vector = first[ids[n]]
        if (item := store.get(ids[n])) is not None and item.version == version:
            yield item._replace(new=vector)


def check_failures(store: Store, models: Models, batch: Extraction, file: Path, journal: Journal) -> None:
    """Refuse a batch of mostly failures, unless the new model fails on these items here too."""
    work = [Work(id, version, "") for id, version, _ in (*batch.done, *batch.failed)]
    if not breaker.is_suspicious(work, batch):
        return
    rows = np.random.default_rng().permutation(len(batch.failed))[:CANARIES]
    items = [(store.get(id), version) for id, version, _ in (batch.failed[n] for n in rows)]
    some = [Work(item.id, version, item.content) for item, version in items if item and item.version == version]
    read = [id for id, *_ in extract(models.new, some).done]
    if 2 * len(read) > len(some):
        raise InputError(
            f"failure: of item {read[0]!r} in {file}, which models.new reads, like {len(read)} of {len(some)}, expected"
            " failures of what it cannot read"
        )
    breaker.check_model(StoredModel(models), work, batch, breaker.draw_witnesses(store, work, journal), journal)
