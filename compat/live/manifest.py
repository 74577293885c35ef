"""Extraction by another engine: pending items are exported to a file, vectors are imported from files.

    export(store, "manifest.parquet")          # id, version, content, place, migration
    # any engine: the new model's embedding of each content, to id, version, migration, vector
    apply(store, models, "vectors.parquet")    # a file or a folder of files, any number of times

Nothing has to be synchronised: workers may run, and items may be written and deleted meanwhile. A vector is written if
its item still has the version of the manifest and no new embedding; items left out are in the next manifest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from compat.errors import InputError
from compat.files import replace as replace_file
from compat.live import parquet
from compat.live.extraction import Extraction
from compat.live.items import Journal, Phase, Work
from compat.live.models import Models
from compat.live.serving import StoredModel
from compat.live.spot_check import spot_check
from compat.live.store import Store
from compat.live.vectors import list_files, migration_stamp, read_batches
from compat.live.worker import RUNS, Worker

GROUP = 16384  # rows of a row group, in memory at a time
METADATA = "compat"


class Applied(NamedTuple):
    """Result of applying files of vectors.

    Attributes:
        written: number of vectors written.
        late: number of vectors refused, as the item has one already, was rewritten or deleted.
        failures: number of failed items in the files.
        phase: phase of the migration: "complete" if nothing is pending, "paused" if it was paused meanwhile.
    """

    written: int
    late: int
    failures: int
    phase: Phase


def export(store: Store, path: str | Path) -> int:
    """Write the pending items to a file, in the order of the migration.

    Items written meanwhile may be missing.

    Args:
        store: the store.
        path: path of the file. Columns `id`, `version`, `content`, `place` (-1: written since the plan) and
            `migration`, which each row of vectors must repeat; the models' fingerprint is in the metadata, as JSON.

    Returns:
        The number of items.

    Raises:
        InputError: no migration to run; a file which cannot be written.
    """
    check_path(path)
    pyarrow = parquet.import_pyarrow()
    journal = _runnable_journal(store, "export")
    known = json.dumps({"migration": journal.migration, "fingerprint": dict(journal.fingerprint)})
    kinds = {"id": pyarrow.string(), "version": pyarrow.int64(), "content": pyarrow.string()}
    kinds |= {"place": pyarrow.int64(), "migration": pyarrow.string()}
    schema = pyarrow.schema(kinds, {METADATA: known})
    count = 0

    def write(file: Path) -> None:
        nonlocal count
        with pyarrow.parquet.ParquetWriter(file, schema, write_page_checksum=True) as writer:
            for page in _pages(store):
                columns = [list(column) for column in zip(*page, strict=True)]
                writer.write_table(pyarrow.table([*columns, [migration_stamp(journal)] * len(page)], schema=schema))
                count += len(page)

    try:
        replace_file(Path(path), write)
    except OSError as error:
        raise InputError(f"manifest: {error}, expected a writable file") from error
    return count


def check_path(path: str | Path) -> None:
    """Refuse a path to which no manifest can be written.

    Raises:
        InputError: a folder, a path in a missing folder; pyarrow is not installed.
    """
    if Path(path).is_dir() or not Path(path).absolute().parent.is_dir():
        raise InputError(f"manifest: {str(path)!r}, expected a writable file in an existing folder")
    parquet.import_pyarrow()


def fingerprint(path: str | Path) -> dict[str, str]:
    """Read the fingerprint of the models from a manifest.

    Raises:
        InputError: the file is no manifest.
    """
    with parquet.open_file("manifest", path, "a file that `export` wrote") as file:
        metadata = file.schema_arrow.metadata or {}
        if METADATA.encode() not in metadata:
            raise ValueError("it does not say of which migration")
        return json.loads(metadata[METADATA.encode()])["fingerprint"]


def apply(
    store: Store, models: Models, path: str | Path, on_batch: Callable[[int, int], None] | None = None
) -> Applied:
    """Write vectors extracted by another engine, at the rate of the migration.

    Some random rows of each batch are embedded again before it is written; those of each file's first batch before
    anything is written.

    Args:
        store: the store.
        models: models of the migration.
        path: a parquet file or a folder of parquet files (see `compat.live.vectors.read_batches`) with embeddings as
            the new model returns them.
        on_batch: called after each batch with its number of items and of vectors written.

    Raises:
        InputError: no migration to run; other models; a missing or refused file (see `read_batches` and
            `compat.live.spot_check`). Vectors written before stay, and the message states their number.
    """
    journal, worker = _runnable_journal(store, "apply"), Worker(store, models, on_batch=on_batch)
    models.check(journal)
    dim = models.upgrade_for(journal.dim, journal.new_dim).new.project.out_features
    read = partial(read_batches, count=journal.batch, dim=dim, migration=migration_stamp(journal))
    files = list_files(path)
    for file in files:
        for batch in read(file):
            spot_check(store, models, batch, file, journal)
            break
    number, journal = journal.migration, worker.start()
    started = time.perf_counter()
    for batch in _checked_batches(worker, files, read, journal):
        journal, left = _hand_in(worker, journal, _as_stored(batch, worker.stored_model))
        if journal.migration != number or journal.phase not in RUNS:
            now = f"migration {journal.migration} is {journal.phase}"
            raise InputError(f"apply: {now} now, expected migration {number} to run")
        if journal.phase == "paused":
            break
        worker.wait(worker.delay(journal, len(batch.done), time.perf_counter() - started), journal)
        started = time.perf_counter()
    if not left:
        journal = worker.change_if_running(journal, partial(replace, phase="complete"))
    written, late, failures = (int(worker.figures[name]) for name in ("written", "conflicts", "dead_letters"))
    return Applied(written, late, failures, journal.phase)


def _runnable_journal(store: Store, verb: str) -> Journal:
    journal = store.journal()
    if journal.phase not in RUNS:
        raise InputError(f"{verb}: the store is in phase {journal.phase}, expected a planned migration")
    return journal


def _pages(store: Store) -> Iterator[list[Work]]:
    """Yield the pending items, page by page."""
    page = store.pending(GROUP)
    while page:
        yield page
        page = store.pending(GROUP, page[-1])


def _checked_batches(
    worker: Worker, files: Sequence[Path], read: Callable[[Path], Iterator[Extraction]], journal: Journal
) -> Iterator[Extraction]:
    """Yield the checked batches of files, and an empty one at the end.

    Raises:
        InputError: a batch is refused; the message states the number of vectors written before.
    """
    try:
        for file in files:
            for batch in read(file):
                yield spot_check(worker.store, worker.models, batch, file, journal)
    except InputError as error:
        raise InputError(f"{error}; {int(worker.figures['written']):,} vectors were written before") from error
    yield Extraction()


def _as_stored(batch: Extraction, served: StoredModel) -> Extraction:
    """Convert embeddings of a batch to the form in which they are stored."""
    if not batch.done:
        return batch
    rows = served.stored(np.stack([vector for _, _, vector in batch.done]))
    done = [(id, version, row) for (id, version, _), row in zip(batch.done, rows, strict=True)]
    return Extraction(done, batch.failed)


def _hand_in(worker: Worker, journal: Journal, batch: Extraction) -> tuple[Journal, bool]:
    """Hand in a batch, and refit the online method if it was waiting for it.

    Returns:
        The journal, and whether any item is still pending.
    """
    while True:
        limit, learns = worker.next_stop(journal, 1.0)
        turn = worker.exchange(journal, batch, 0, limit)
        journal, batch = worker.store.journal(), Extraction()
        if turn.left or not learns or journal.phase != "running":
            return journal, turn.left or learns
        journal = worker.learn(journal, limit)
