"""A store in this process's memory, written as somebody outside the package would: CONTRIBUTING, "A store"."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import Any, cast

import numpy as np

from compat.errors import InputError
from compat.live.checks import (
    check_adding,
    check_fields,
    check_item,
    check_meta,
    check_moment,
    check_phase,
    check_report,
    check_text,
    check_way,
)
from compat.live.items import (
    Candidates,
    Column,
    Counts,
    Entry,
    Item,
    Journal,
    Report,
    StoredGallery,
    Turn,
    Work,
    load_journal,
    new_store,
    new_version,
)
from compat.live.sql import audit_row
from compat.live.store import Ask, Capability, Conflict, Where


class Content:
    """All that is at one address."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.journal: tuple[str, str] | None = None
        self.items: dict[str, Item] = {}
        self.places: dict[str, int] = {}
        self.claims: dict[str, tuple[str, float]] = {}
        self.fits: dict[tuple[int, int], bytes] = {}
        self.figures: dict[str, tuple[float, Mapping[str, float]]] = {}
        self.changes: list[Entry] = []


ADDRESSES: dict[str, Content] = {}


class MemoryStore:
    """Items in a dictionary; every method holds one lock."""

    capabilities: frozenset[Capability] = frozenset({"compare and set", "snapshot"})

    def __init__(self, address: str) -> None:
        self.its = ADDRESSES.setdefault(address, Content())

    def create(self, journal: Journal) -> None:
        with self.its.lock:
            if self.its.journal:
                raise InputError("store: there is one, expected an address without")
            self.its.journal = replace(journal, store=journal.store or new_store()).dump()

    def journal(self) -> Journal:
        if self.its.journal is None:
            raise InputError("store: none at this address, expected one that was made")
        return load_journal(*self.its.journal)

    def amend(self, before: Journal, after: Journal, fit: bytes | None = None) -> None:
        with self.its.lock:
            key = after.migration, after.learned
            if self.journal() != before or (fit is not None and key in self.its.fits):
                raise Conflict
            if fit is not None:
                self.its.fits[key] = fit
            at, who, version, changes = audit_row(before, after)
            self.its.changes.append(Entry(at, who, version, {k: tuple(v) for k, v in json.loads(changes).items()}))
            self.its.journal = after.dump()

    def fit(self, journal: Journal) -> bytes | None:
        return self.its.fits.get((journal.migration, journal.learned))

    def history(self, count: int) -> list[Entry]:
        return self.its.changes[::-1][:count]

    def add(self, items: Iterable[Item]) -> int:
        with self.its.lock:
            journal, added = self.journal(), dict[str, Item]()
            check_adding(journal)
            for item in items:
                check_item(item, journal)
                if item.id in added or item.id in self.its.items:
                    raise InputError(f"id: {item.id!r} twice, expected each item once")
                added[item.id] = item._replace(version=item.version or new_version())
            self.its.items.update(added)
            return len(added)

    def put(self, item: Item, during: Journal) -> None:
        with self.its.lock:
            journal = self.journal()
            check_phase(journal, during)
            check_item(item, journal)
            self._forget(item.id)
            self.its.items[item.id] = item._replace(version=item.version or new_version())

    def describe(self, id: str, meta: Mapping[str, Any]) -> bool:
        check_meta(id, meta)
        return self._change(id, lambda item: item._replace(meta=dict(meta)))

    def delete(self, id: str) -> bool:
        with self.its.lock:
            self._forget(check_text("id", id))
            return self.its.items.pop(id, None) is not None

    def get(self, id: str) -> Item | None:
        return self.its.items.get(check_text("id", id))

    def exchange(self, report: Report, count: int, lease: float, below: int | None = None) -> Turn:
        with self.its.lock:
            journal, written, now = self.journal(), 0, time.time()
            if (ours := journal.migration == report.migration) and journal.accepts_vectors:
                check_report(report, journal.new_dim)
                written = sum(self._migrate(*row) for row in report.done)
                for id, version, reason in report.failed:
                    if (item := self.get(id)) and item.version == version and item.new is None:
                        self.its.items[id] = item._replace(failure=reason)
            if report.figures:
                self.beat(report.worker, report.figures)
            held = {id: it for id, it in self.its.claims.items() if it[0] != report.worker and it[1] > now}
            self.its.claims = held
            due = [p for p in self._due() if below is None or p.place < below]
            free = [p for p in due if p.id not in held][: count if ours and journal.phase == "running" else 0]
            self.its.claims |= {p.id: (report.worker, now + lease) for p in free}
            return Turn(written, [Work(p.id, p.version, p.content) for p in free], bool(due))

    def pending(self, count: int, after: Work | None = None) -> list[Work]:
        found = sorted(self._due(), key=lambda p: (p.place, p.id))
        return [p for p in found if after is None or (p.place, p.id) > (after.place, after.id)][:count]

    def retry(self) -> int:
        letters = self._those(lambda item: item.failure is not None)
        return sum(self._change(item.id, lambda item: item._replace(failure=None)) for item in letters)

    def beat(self, name: str, figures: Mapping[str, float]) -> None:
        self.its.figures[name] = time.time(), dict(figures)

    def beats(self, since: float) -> dict[str, Mapping[str, float]]:
        return {name: its for name, (at, its) in self.its.figures.items() if at >= time.time() - since}

    def counts(self) -> Counts:
        items = self._those(lambda item: True)
        new = sum(item.new is not None for item in items)
        failed = sum(item.failure is not None for item in items)
        neither = sum(item.old is None and item.new is None for item in items)
        return Counts(len(items), new, len(items) - new - failed, failed, neither)

    def without_old(self, count: int) -> list[Work]:
        return [Work(i.id, i.version, i.content) for i in self._those(lambda item: item.old is None)][:count]

    def sample(self, count: int) -> list[Item]:
        found = self._those(lambda item: item.new is not None)
        return random.sample(found, min(count, len(found)))

    def misplaced(self, count: int, rows: int | None = None) -> list[str]:
        return []

    def scan(self, column: Column) -> Iterator[tuple[list[str], np.ndarray]]:
        if part := self._part(column):
            yield [item.id for item in part], np.stack([getattr(item, column) for item in part])

    def failures(self, count: int) -> list[Item]:
        return self._those(lambda item: item.failure is not None)[:count]

    def claims(self) -> dict[str, tuple[int, float]]:
        found: dict[str, tuple[int, float]] = {}
        for worker, until in self.its.claims.values():
            many, left = found.get(worker, (0, np.inf))
            found[worker] = many + 1, min(left, until - time.time())
        return found

    def gallery(self, new: bool = False, old: bool = True) -> StoredGallery:
        with self.its.lock:
            journal, items = self.journal(), self._those(lambda item: item.old is not None)
            wide, narrow = journal.dim if old else 0, journal.new_dim if new else 0
            missing = np.full(narrow, np.nan, np.float32)
            vectors = [item.old if old else () for item in items]
            after = [(missing if item.new is None else item.new) if new else () for item in items]
            return StoredGallery(
                [item.id for item in items],
                np.array([item.version for item in items], np.int64),
                np.array([self.its.places.get(item.id, -1) for item in items], np.int64),
                np.array(vectors, np.float32).reshape(len(items), wide),
                np.array(after, np.float32).reshape(len(items), narrow),
            )

    def place(self, ids: Sequence[str], before: Journal, after: Journal) -> None:
        ids = [check_text("id", id) for id in ids]
        with self.its.lock:
            self.amend(before, after)
            self.its.places = {id: n for n, id in enumerate(ids) if id in self.its.items}
            self.its.fits, self.its.claims = {}, {}

    def fill(self, column: Column, rows: Iterable[tuple[str, int, np.ndarray]], during: Journal) -> int:
        with self.its.lock:
            check_moment(self.journal(), during)
            return sum(self._write(id, version, column, vector) for id, version, vector in rows)

    def search(
        self, asks: Sequence[Ask], k: int, where: Where | None = None, during: Journal | None = None
    ) -> list[Candidates]:
        with self.its.lock:
            journal = self.journal()
            check_way(journal, during)
            fields = check_fields(where, journal)
            return [self._nearest(ask, k, fields, journal) for ask in asks]

    def warm(self, columns: Sequence[Column]) -> None:
        pass

    def revert(self, before: Journal, after: Journal) -> None:
        self._all(before, after, "old", lambda item: item._replace(new=None, bridge=None, failure=None))
        self.its.places = {}

    def drop_old(self, before: Journal, after: Journal) -> None:
        self._all(before, after, "new", lambda item: item._replace(old=None, bridge=None))

    def advance(self, before: Journal, after: Journal) -> None:
        self._all(before, after, "id", lambda item: item._replace(old=item.new, new=None, bridge=None))
        self.its.places = {}

    def sweep(self, rows: int = 1000) -> bool:
        return False

    def size(self) -> int:
        vectors = (its for item in self._those(lambda item: True) for its in (item.old, item.bridge, item.new))
        return sum(vector.nbytes for vector in vectors if vector is not None)

    def close(self) -> None:
        pass

    def _those(self, hold: Callable[[Item], bool]) -> list[Item]:
        with self.its.lock:
            return [item for item in self.its.items.values() if hold(item)]

    def _change(self, id: str, change: Callable[[Item], Item]) -> bool:
        with self.its.lock:
            if id in self.its.items:
                self.its.items[id] = change(self.its.items[id])
            return id in self.its.items

    def _forget(self, id: str) -> None:
        self.its.places.pop(id, None)
        self.its.claims.pop(id, None)

    def _migrate(self, id: str, version: int, vector: np.ndarray) -> bool:
        item = self.get(id)
        if item is None or item.new is not None or not self._write(id, version, "new", vector):
            return False
        return self._change(id, lambda item: item._replace(failure=None))

    def _write(self, id: str, version: int, column: Column, vector: np.ndarray) -> bool:
        item, its = self.get(id), cast(dict[str, Any], {column: vector})
        return bool(item and item.version == version) and self._change(id, lambda i: i._replace(**its))

    def _due(self) -> list[Work]:
        found = self._those(lambda item: item.new is None and item.failure is None)
        due = [Work(i.id, i.version, i.content, self.its.places.get(i.id, -1)) for i in found]
        return sorted(due, key=lambda p: p.place)

    def _part(self, column: Column) -> list[Item]:
        found = self._those(lambda item: getattr(item, column) is not None)
        return [item for item in found if column == "new" or item.new is None]

    def _nearest(self, ask: Ask, k: int, fields: Where, journal: Journal) -> Candidates:
        part = [i for i in self._part(ask.column) if all(i.meta.get(name) == fields[name] for name in fields)]
        dim = ask.queries.shape[1]
        rows = np.array([getattr(item, ask.column) for item in part], np.float32).reshape(len(part), dim)
        one, other = ask.queries.astype(np.float64), rows.astype(np.float64)
        if journal.distance == "cosine":
            one, other = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30) for x in (one, other))
        order = ((one[:, None] - other) ** 2).sum(2).argsort(1, kind="stable")[:, :k]
        found, nearest = np.unique(order, return_inverse=True)
        its = [part[n] for n in found]
        return Candidates([i.id for i in its], [i.meta for i in its], rows[found], nearest.reshape(order.shape))

    def _all(self, before: Journal, after: Journal, column: str, change: Callable[[Item], Item]) -> None:
        with self.its.lock:
            if self._those(lambda item: getattr(item, column) is None):
                raise Conflict
            self.amend(before, after)
            self.its.items = {id: change(item) for id, item in self.its.items.items()}
