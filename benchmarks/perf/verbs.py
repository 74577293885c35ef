"""Time verbs on all items at once, and the users' writes waiting for them."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.perf import synthetic
from benchmarks.perf.apart import apart, one_thread, peak
from compat.live import Migration, open_store

BATCH = 256
PAUSE = 0.01  # seconds between two writes


class Took(NamedTuple):
    """Seconds of a verb and of the longest waiting write, and peak MiB of the verb's process."""

    seconds: float
    longest_write: float
    memory: float


def of_a_whole_migration(path: Path, folder: Path) -> dict[str, Took]:
    """Time the end of a complete migration in a file: its rollback, in a copy, and its finalisation."""
    copy = path.with_name("rolled_back.db")
    with closing(sqlite3.connect(path)) as base:
        base.execute("VACUUM INTO ?", (str(copy),))
    found = {"rollback of all": beside_writes("rollback", copy, folder)}
    copy.unlink()
    return found | {verb: beside_writes(verb, path, folder) for verb in ("verify", "finalize")}


def beside_writes(verb: str, path: Path, folder: Path) -> Took:
    """Time a verb while an item is described again and again."""
    url = f"sqlite:///{path}"
    store, longest = open_store(url), 0.0

    def write() -> None:
        nonlocal longest
        started = time.perf_counter()
        store.describe("item-0", {})
        longest = max(longest, time.perf_counter() - started)
        time.sleep(PAUSE)

    seconds, memory = apart(done, verb, url, folder, meanwhile=write)
    store.close()
    return Took(seconds, longest, memory)


def done(verb: str, url: str, folder: Path) -> tuple[float, float]:
    """Return the seconds of a verb, and the peak MiB of this process."""
    one_thread()
    migration = Migration(open_store(url), synthetic.models(folder))
    step = partial(migration.plan, batch=BATCH) if verb == "plan" else getattr(migration, verb)
    started = time.perf_counter()
    step()
    return time.perf_counter() - started, peak()
