"""Roles of the processes in a fault injection: one migrates, one writes, one queries; each leaves a log."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.faults.oracle import FIELDS, OLD, Told, models
from benchmarks.faults.processes import Log
from compat.live.items import Item, Journal
from compat.live.migration import Migration
from compat.live.open import open_store
from compat.live.searcher import Searcher
from compat.live.store import Store
from compat.live.worker import LEASE, Worker
from compat.live.writer import Writer
from compat.orders import Random

ALL = 10**6  # more than a gallery has
LANGUAGES = ("de", "en", "fr")
PAUSE = 0.003  # seconds between two writes, on average


class Setting(NamedTuple):
    """The setting of a migration under faults.

    Attributes:
        url: of the store.
        folder: of the logs.
        items: initial size of the gallery.
        batch: items per batch of a worker.
        queries: contents.
        forward: whether the gallery is rewritten when the backfill starts.
        working: opens the store for a worker; replaced to break it.
        asking: opens the store for queries; replaced to break it.
        slowness: seconds per batch of the new model.
        life: seconds until a worker is killed.
    """

    url: str
    folder: Path
    items: int = 100
    batch: int = 2
    queries: Sequence[str] = ("q0", "q1", "q2", "q3")
    forward: bool = False
    working: Callable[[str], Store] = open_store
    asking: Callable[[str], Store] = open_store
    slowness: float = 0.0
    life: float = 0.03

    @property
    def errors(self) -> Path:
        """Return the errors of children."""
        return self.folder / "errors"


def make(setting: Setting, planned: bool = True) -> dict[str, int]:
    """Make the store and plan its migration; returns the version of each item."""
    store = open_store(setting.url)
    store.create(Journal(OLD, "cosine", FIELDS))
    model = Told("old")
    names = [f"i{n}" for n in range(setting.items)]
    store.add(Item(n, n, {"lang": LANGUAGES[k % 2]}, old=model.row(n)) for k, n in enumerate(names))
    if planned:
        plan(setting, store)
    gallery = store.gallery()
    store.close()
    return dict(zip(gallery.ids, gallery.version.tolist(), strict=True))


def plan(setting: Setting, store: Store, old: str = "old", new: str = "new") -> None:
    """Plan a migration."""
    Migration(store, models(setting.forward, old, new)).plan(Random(), seed=1, batch=setting.batch)


def look(setting: Setting, ids: Sequence[str], store: Store | None = None) -> dict[str, Any]:
    """Read these items and the counts of a store."""
    store = store or open_store(setting.url)
    found = [item for id in ids if (item := store.get(id))]
    return {"items": [plain(item) for item in found], "total": store.counts().total, "dim": store.journal().dim}


def plain(item: Item) -> dict[str, Any]:
    """Convert an item to JSON values."""
    rest = {"id": item.id, "content": item.content, "version": item.version, "failure": item.failure}
    return {**rest, "meta": dumped(item.meta), "old": listed(item.old), "new": listed(item.new)}


def listed(vector: np.ndarray | None) -> list[float] | None:
    """Convert a vector to JSON values."""
    return None if vector is None else vector.tolist()


def dumped(meta: Any) -> str:
    """Dump JSON as in states."""
    return json.dumps(dict(meta), sort_keys=True)


class Noted(Told):
    """The new model, logging the embedded contents once its worker has begun.

    Args:
        slowness: its seconds.
        stop: number of the batch in which it stops its process (SIGSTOP).
    """

    def __init__(self, slowness: float = 0.0, stop: int | None = None) -> None:
        super().__init__("new")
        self.slowness, self.stop = slowness, stop
        self.log: Log | None = None

    def __call__(self, contents: Sequence[str]) -> np.ndarray:
        rows = super().__call__(contents)
        if self.log is not None:
            self.log.write(extracted=list(contents))
            if self.stop == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
            self.stop = None if self.stop is None else self.stop - 1
            time.sleep(self.slowness)
        return rows


class Begun(Worker):
    """A worker logging the start of its migration, and from then on its extractions."""

    def __init__(self, store: Store, setting: Setting, log: Log, stop: int | None = None, lease: float = LEASE) -> None:
        self.model, self.log = Noted(setting.slowness, stop), log
        super().__init__(store, replace(models(setting.forward), new=self.model), lease)

    def start(self) -> Journal:
        journal = super().start()
        self.log.write(runs=True)
        self.model.log = self.log
        return journal


def work(setting: Setting, log: Log, store: Store | None = None, until: float = 1.0, **options: Any) -> None:
    """Migrate until nothing is left."""
    log.write(running=True)
    journal = Begun(store or setting.working(setting.url), setting, log, **options).run(until)
    log.write(phase=journal.phase)


def roll_back(setting: Setting, log: Log, store: Store | None = None) -> None:
    """Roll back, unless already done."""
    log.write(back=True)
    store = store or open_store(setting.url)
    if store.journal().phase != "rolled_back":
        Migration(store, models(setting.forward)).rollback()
    log.write(phase="rolled_back")


def write(setting: Setting, log: Log, seed: str, count: int = ALL) -> None:
    """Write at random: new items, other contents, other fields, deletes; one after the other."""
    chance = random.Random(seed)
    writer = Writer(open_store(setting.url), models(setting.forward))
    for number in range(count):
        time.sleep(chance.expovariate(1 / PAUSE))
        verb = chance.choices(("put", "describe", "delete"), (5, 2, 2))[0]
        one(writer, log, verb, f"i{chance.randrange(round(1.2 * setting.items))}", f"{seed}.{number}", chance)


def one(writer: Writer, log: Log, verb: str, id: str, content: str, chance: random.Random) -> None:
    """Log one write, do it, and log its return."""
    meta = {"lang": chance.choice(LANGUAGES)}
    if verb == "put":
        log.write(verb=verb, id=id, content=content, meta=meta)
        log.write(returned=writer.put(id, content, meta).version)
    elif verb == "describe":
        log.write(verb=verb, id=id, meta=meta)
        log.write(returned=writer.describe(id, meta))
    else:
        log.write(verb=verb, id=id)
        log.write(returned=writer.delete(id))


def ask(setting: Setting, log: Log) -> None:
    """Query until stopped (SIGTERM): all items, the ten nearest, filtered ones."""
    ends: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ends.append(1))
    searcher = Searcher(setting.asking(setting.url), models(setting.forward))
    number = 0
    while not ends:
        answer(searcher, setting, log, number)
        number += 1
        time.sleep(PAUSE)
    for last in range(2 * len(setting.queries)):
        answer(searcher, setting, log, last)


def answer(searcher: Searcher, setting: Setting, log: Log, number: int) -> None:
    """Ask one query, and log the whole answer."""
    query = number % len(setting.queries)
    k = 10 if number % 3 == 1 else ALL
    where = {"lang": "en"} if number % 5 == 4 else {}
    began = log.write(asked=query)
    hits = searcher.search(setting.queries[query], k, where)
    log.write(
        began=began, query=query, k=k, where=where, hits=[(h.id, h.distance, h.part, dumped(h.meta)) for h in hits]
    )
