"""A store in Qdrant, for galleries too large for one machine. Experimental.

Qdrant has no transactions. An item is a point, changed in one step by a conditional `update_vectors` or `upsert`. A
worker's vector is written if the point has the version from which it was extracted and no new embedding. An
application's write replaces no point of a later kind of phase, and the journal is read once more before it counts. The
journal is compared and set (`journal.py`) together with the names of all columns, so a rollback is one step and workers
of an earlier migration do no harm. `search.py` defines the order in which parts are searched.

Not guaranteed: counts are not of one moment; an interrupted batch has moved some items, each completely; of two
concurrent plans one begins, but its order may be a mixture; of two concurrent additions of an id one wins.

It has never been run against a Qdrant server, as none could be installed. The tests use the client's engine, also over
HTTP, and Qdrant Edge, the server's engine as a library; `.github/workflows/qdrant.yml` runs them against a server.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

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
    new_store,
    new_version,
)
from compat.live.qdrant.claims import claim, count_claims, release
from compat.live.qdrant.connection import READ, WRITE, QdrantConnection, Refused, models
from compat.live.qdrant.journal import JournalStore
from compat.live.qdrant.points import (
    JournalPoint,
    all_of,
    failed_conditions,
    has_ids,
    has_vector,
    in_range,
    is_missing,
    matches_any,
    pending_filter,
    point_id,
    stamp,
    tag,
)
from compat.live.qdrant.requests import CHUNK, Points, Rows
from compat.live.qdrant.search import search
from compat.live.store import DEFAULT, Approximate, Ask, Capability, Conflict, Where

COLUMNS: tuple[Column, ...] = ("old", "bridge", "new")


class QdrantStore:
    """A store in a collection of a Qdrant server, or in a folder of this process for tests. Experimental.

    Args:
        url: `qdrant://host:port/collection`, `qdrants://` for TLS (a key in QDRANT_API_KEY), or
            `qdrant:///folder/collection`.
        approximate: number of items above which the server's index is used; its recall depends on the collection's
            settings.
    """

    def __init__(self, url: str, approximate: Approximate = DEFAULT) -> None:
        self.link, self.approximate = QdrantConnection(url), approximate
        self.journals, self.points, self.items = JournalStore(self.link), Points(self.link), self.link.collection

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Capabilities; several processes need a server."""
        return frozenset({"compare and set"} if self.link.folder else {"compare and set", "many workers"})

    def create(self, journal: Journal) -> None:
        self.journals.create(replace(journal, store=journal.store or new_store()))

    def add(self, items: Iterable[Item]) -> int:
        """Add items one chunk after the other; those of an interrupted call are overwritten by the next."""
        state, token, start = self.journals.state(), secrets.token_hex(8), time.time_ns()
        check_adding(state.journal)
        mine, seen, left = all_of([matches_any("adding", token)]), set[str](), iter(items)
        try:
            while some := list(islice(left, CHUNK)):
                for item in some:
                    check_item(item, state.journal)
                    if item.id in seen:
                        raise InputError(f"id: {item.id!r} twice, expected each item once")
                    seen.add(item.id)
                first = start + len(seen) - len(some)
                some = [item._replace(version=item.version or new_version()) for item in some]
                points = [state.point(item, first + n, adding=token) for n, item in enumerate(some)]
                self.link("upsert", self.items, points, update_filter=all_of(unless=[is_missing("adding")]), **WRITE)
                found = self.link("retrieve", self.items, [p.id for p in points], ["id", "adding"], **READ)
                there = [record.payload["id"] for record in found if record.payload.get("adding") != token]
                if there or len(found) < len(some):
                    raise InputError(f"id: {(there or ['?'])[0]!r} twice, expected each item once")
        except BaseException:
            self.link("delete", self.items, models.FilterSelector(filter=mine), **WRITE)
            raise
        if seen:
            self.link("delete_payload", self.items, ["adding"], mine, **WRITE)
        return len(seen)

    def journal(self) -> Journal:
        return self.journals.state().journal

    def amend(self, before: Journal, after: Journal, fit: bytes | None = None) -> None:
        state, names = self.journals.unchanged_state(before), {}
        if after.new_dim and (after.migration, after.new_dim) != (before.migration, before.new_dim):
            names = {column: self.journals.create_column(column, after, after.new_dim) for column in COLUMNS[1:]}
        if fit is not None:
            state = self.journals.store_fit(state, after, fit)
        try:
            self.journals.replace(state, after, **names)
        except Conflict:
            for name in names.values():
                self.journals.drop_column(name, after)
            raise

    def fit(self, journal: Journal) -> bytes | None:
        return self.journals.load_fit(journal)

    def put(self, item: Item, during: Journal) -> None:
        state, id = self.journals.state(), point_id(item.id)
        check_phase(state.journal, during)
        check_item(item, state.journal)
        there = self.link("retrieve", self.items, [id], ["seq"], **READ)
        point = state.point(item, there[0].payload["seq"] if there else time.time_ns())
        try:
            self.link("upsert", self.items, [point], update_filter=all_of([in_range("era", lte=state.era)]), **WRITE)
        except Refused as error:
            if self.journals.state().marks[-1] == state.marks[-1]:
                raise
            raise Conflict from error
        there = self.link("retrieve", self.items, [id], ["era"], **READ)
        check_phase(self.journals.state().journal, during)
        if there and there[0].payload["era"] > state.era:
            raise Conflict

    def describe(self, id: str, meta: Mapping[str, Any]) -> bool:
        check_meta(id, meta)
        there = self.link("retrieve", self.items, [point_id(id)], False, **READ)
        if there:
            described, it = self.journals.state().meta_payload(meta), all_of([has_ids([point_id(id)])])
            self.link("set_payload", self.items, described, it, **WRITE)
        return bool(there)

    def delete(self, id: str) -> bool:
        there = self.link("retrieve", self.items, [point_id(id)], False, **READ)
        if there:
            self.link("delete", self.items, models.PointIdsList(points=[there[0].id]), **WRITE)
        return bool(there)

    def get(self, id: str) -> Item | None:
        state = self.journals.state()
        found = self.link("retrieve", self.items, [point_id(id)], True, state.names(*COLUMNS), **READ)
        return state.item(found[0]) if found else None

    def exchange(self, report: Report, count: int, lease: float, below: int | None = None) -> Turn:
        """Exchange a report; of two concurrent reports of a vector both may count it as written."""
        state = self.journals.state()
        ours, written = state.journal.migration == report.migration, 0
        if ours and state.journal.accepts_vectors:
            check_report(report, state.journal.new_dim)
            written = self._write(state, "new", report.done, has_vector(state.new))
            for id, version, reason in report.failed:
                letter = {"failed": state.new, "failure": reason}
                it = all_of([has_ids([point_id(id)]), matches_any("stamp", stamp(id, version))], has_vector(state.new))
                self.link("set_payload", self.items, letter, it, **WRITE)
        if report.figures:
            self.journals.beat(report.worker, report.figures)
        state = self.journals.state()
        ours, waiting = state.journal.migration == report.migration, pending_filter(state, below)
        release(self.link, report.worker, waiting)
        left = bool(self.points.first(waiting))
        claims = left and ours and state.journal.phase == "running" and count > 0
        return Turn(written, claim(self.link, report.worker, waiting, count, lease) if claims else [], left)

    def pending(self, count: int, after: Work | None = None) -> list[Work]:
        place, id = (-1, None) if after is None else (after.place, point_id(after.id))
        found = self.points.after(pending_filter(self.journals.state()), place, id, count)
        return [Work(*(record.payload[name] for name in Work._fields)) for record in found]

    def retry(self) -> int:
        state = self.journals.state()
        letters = all_of(failed_conditions(state) or has_vector(None), has_vector(state.new))
        count = self.points.count(letters)
        self.link("delete_payload", self.items, ["failed", "failure"], letters, **WRITE)
        return count

    def beat(self, name: str, figures: Mapping[str, float]) -> None:
        self.journals.beat(name, figures)

    def beats(self, since: float) -> dict[str, Mapping[str, float]]:
        return self.journals.beats(since)

    def counts(self) -> Counts:
        state = self.journals.state()
        dead, missing = failed_conditions(state), has_vector(state.new)
        total, pending = self.points.count(all_of()), self.points.count(all_of(unless=missing + dead))
        lost = self.points.count(all_of(dead or has_vector(None), missing))
        return Counts(
            total,
            total - pending - lost,
            pending,
            lost,
            self.points.count(all_of(unless=missing + has_vector(state.old))),
        )

    def without_old(self, count: int) -> list[Work]:
        without_old = all_of(unless=has_vector(self.journals.state().old))
        found = self.points.first(without_old, count, ["id", "version", "content"])
        return [Work(**record.payload) for record in found]

    def sample(self, count: int) -> list[Item]:
        state = self.journals.state()
        if count == 0:
            return []
        drawn = models.SampleQuery(sample=models.Sample.RANDOM)
        options = {"limit": count, "with_payload": True, "with_vectors": state.names(*COLUMNS), **READ}
        found = self.link("query_points", self.items, drawn, query_filter=all_of(has_vector(state.new)), **options)
        return [state.item(record) for record in found.points]

    def misplaced(self, count: int, rows: int | None = None) -> list[str]:
        """Return nothing: a point's own vectors say what it has."""
        return []

    def scan(self, column: Column) -> Iterator[tuple[list[str], np.ndarray]]:
        state = self.journals.state()
        if (name := getattr(state, column)) is None:
            return
        part = all_of(has_vector(name), [] if column == "new" else has_vector(state.new))
        found = (state.item(record) for record in self.points.all(part, state.names(column)))
        while some := list(islice(found, CHUNK)):
            yield [item.id for item in some], np.array([getattr(item, column) for item in some], np.float32)

    def failures(self, count: int) -> list[Item]:
        state = self.journals.state()
        found = self.points.all(
            all_of(failed_conditions(state) or has_vector(None), has_vector(state.new)), state.names(*COLUMNS)
        )
        return [state.item(record) for record in islice(found, count)]

    def claims(self) -> dict[str, tuple[int, float]]:
        return count_claims(self.link, pending_filter(self.journals.state()))

    def history(self, count: int) -> list[Entry]:
        return self.journals.history(count)

    def gallery(self, new: bool = False, old: bool = True) -> StoredGallery:
        state = self.journals.state()
        columns: tuple[Column, ...] = tuple(name for name, wanted in (("old", old), ("new", new)) if wanted)  # type: ignore[misc]
        found = list(self.points.all(all_of(has_vector(state.old)), state.names(*columns)))
        found.sort(key=lambda record: record.payload["seq"])
        items = [state.item(record) for record in found]
        dims = state.journal.dim if old else 0, state.journal.new_dim if new else 0
        missing = np.full(dims[1], np.nan, np.float32)
        return StoredGallery(
            [item.id for item in items],
            np.array([item.version for item in items], np.int64),
            np.array([record.payload["place"] if state.new else -1 for record in found], np.int64),
            np.array([item.old if old else () for item in items], np.float32).reshape(len(items), dims[0]),
            np.array([missing if i.new is None else i.new for i in items], np.float32).reshape(len(items), dims[1]),
        )

    def place(self, ids: Sequence[str], before: Journal, after: Journal) -> None:
        self.journals.unchanged_state(before)
        self.points.place(ids)
        self.amend(before, after)
        self.journals.delete_earlier_fits(after)

    def fill(self, column: Column, rows: Iterable[tuple[str, int, np.ndarray]], during: Journal) -> int:
        """Write vectors; the journal is read before each request, so an outdated fit overwrites at most one request."""
        left, count = iter(rows), 0
        while some := list(islice(left, CHUNK)):
            check_moment((state := self.journals.state()).journal, during)
            count += self._write(state, column, some)
        return count

    def search(
        self, asks: Sequence[Ask], k: int, where: Where | None = None, during: Journal | None = None
    ) -> list[Candidates]:
        """Search the old part first, then the new one; see `search.py`."""
        while True:
            state = self.journals.state()
            check_way(state.journal, during)
            filters = [matches_any("tags", tag(*field)) for field in check_fields(where, state.journal).items()]
            order = sorted(range(len(asks)), key=lambda n: asks[n].column == "new")
            try:
                its = {n: search(self.link, state, asks[n], k, filters, self.approximate.above) for n in order}
            except Refused:
                if self.journals.state().marks == state.marks:
                    raise
                continue
            if during is None or self.journals.state().journal.serving_key == state.journal.serving_key:
                return [its[n] for n in range(len(asks))]

    def warm(self, columns: Sequence[Column]) -> None:
        """Do nothing: the server loads its data itself."""

    def revert(self, before: Journal, after: Journal) -> None:
        self.journals.replace(self._all_have(before, "old"), after, bridge=None, new=None)

    def drop_old(self, before: Journal, after: Journal) -> None:
        self.journals.replace(self._all_have(before, "new"), after, old=None, bridge=None)

    def advance(self, before: Journal, after: Journal) -> None:
        state = self.journals.unchanged_state(before)
        self.journals.replace(state, after, old=state.new, bridge=None, new=None)

    def sweep(self, rows: int = 1000) -> bool:
        """Do nothing: whoever changes the journal deletes what it retires, see `JournalStore.settle`."""
        return False

    def size(self) -> int:
        """Return the size of a folder; for a server, which reports none, 4 bytes per number of its vectors."""
        if self.link.folder:
            return sum(file.stat().st_size for file in self.link.folder.rglob("*") if file.is_file())
        state = self.journals.state()
        dims = {"old": state.journal.dim, "bridge": state.journal.new_dim, "new": state.journal.new_dim}
        copies = 1 if state.journal.distance == "l2" else 2
        return sum(
            4 * copies * dims[name] * self.points.count(all_of(has_vector(getattr(state, name)))) for name in COLUMNS
        )

    def close(self) -> None:
        self.link.close()

    def _write(self, state: JournalPoint, column: Column, rows: Rows, unless: Sequence[Any] = ()) -> int:
        """Write vectors to a column if it still exists, and return their number."""
        name = getattr(state, column)
        try:
            return self.points.write(name, rows, state.journal.distance, unless) if name else 0
        except Refused:
            if getattr(self.journals.state(), column) == name:
                raise
            return 0

    def _all_have(self, before: Journal, column: Column) -> JournalPoint:
        """Return the state, if it is unchanged and all items have a vector of a column."""
        state = self.journals.unchanged_state(before)
        self.journals.settle(state)
        lacking = all_of(unless=has_vector(getattr(state, column)))
        if self.points.first(lacking):
            raise Conflict
        return state
