"""A store in Qdrant, which takes over where one machine is too small for serving.

What its guarantees rest on, as Qdrant has no transactions:

- A point is an item, and changing it is one step: `update_vectors` and `upsert` under a condition on its payload. What a
  worker hands in is written where the point has the version that it was extracted from, and no new embedding.
- The journal is one point of a second collection, replaced under the condition that it still has the mark, drawn at
  random, of the state that was read; the marks of the last changes tell who won. So no file has to be shared.
- The columns are named vectors, and the journal has their names. Each migration has names of its own, which never come
  again. So to roll back, to finalize and to go on to the next migration is one change of the journal, whatever the
  number of items, and the vectors that it retires are deleted afterwards. What a worker of an earlier migration writes,
  however late, has no vector of that name to go to, and Qdrant refuses it.
- Under the same names, items only go from the old part to the new one. So the old part is searched first, and the
  searcher keeps the new one's of an item that it sees twice: an item is found in both parts, or in one.
- What an application writes is conditional too: a point that was written, or seen, in a later kind of phase is not
  replaced by what was embedded for an earlier one, and the journal is looked at once more before the write counts.

Counts are not of one moment. A batch that is cut short has moved some items, each of them whole. The order of a plan is
written item by item; two plans that are made at once may mix theirs, though only one of them is begun.

Qdrant scales what it stores under cosine. So there a column is two vectors: one scaled here, which is searched by dot
product, and one as it was given, which is not indexed, and from which the searcher computes distances.

No server has been run where this was written, as none could be installed: the tests use the engine in the client, one
of them looks at the same steps in Qdrant Edge, the server's engine as a library, and `.github/workflows/qdrant.yml`
runs the contract's tests on a server.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from compat.errors import InputError
from compat.live.items import Column, Counts, Found, Gallery, Item, Journal, Report, Turn, Work, new_version
from compat.live.parts import DEFAULT, Approximate
from compat.live.qdrant_claims import claimed
from compat.live.qdrant_journal import Ledger
from compat.live.qdrant_link import READ, WRITE, Link, Refused, models
from compat.live.qdrant_points import State, are, has, is_one, lacks, point_id, stamp, stored, tag, where, within
from compat.live.qdrant_search import found
from compat.live.store import Ask, Capability, Conflict, Where, check_fields, check_vector

CHUNK = 256  # points of one request
PAGE = 1000
TAKES = ("running", "paused", "complete")
WORK = ["id", "version", "content"]
COLUMNS: tuple[Column, ...] = ("old", "bridge", "new")


class QdrantStore:
    """A store in a collection of a Qdrant server, or in a folder of this process for tests and what is small.

    Args:
        url: `qdrant://host:port/collection`, `qdrants://` for TLS (a key in QDRANT_API_KEY), or
            `qdrant:///folder/collection`.
        approximate: above how many items a part is searched by the server's index; its recall is what the settings of
            the collection make it.
    """

    def __init__(self, url: str, approximate: Approximate = DEFAULT) -> None:
        self.link, self.approximate = Link(url), approximate
        self.ledger, self.items = Ledger(self.link), self.link.collection

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Several processes need a server."""
        return frozenset({"compare and set"} if self.link.folder else {"compare and set", "many workers"})

    def create(self, journal: Journal) -> None:
        self.ledger.create(journal)

    def add(self, items: Iterable[Item]) -> int:
        """Items show up by and by; those of a call that was cut short are taken as not there by the next."""
        state, token, start = self.ledger.state(), secrets.token_hex(8), time.time_ns()
        mine, seen, left = where([is_one("adding", token)]), set[str](), iter(items)
        try:
            while some := list(islice(left, CHUNK)):
                for item in some:
                    check_vector(item.id, "old", item.old, state.journal.dim)
                    if item.id in seen:
                        raise InputError(f"id: {item.id!r} twice, expected each item once")
                    seen.add(item.id)
                first = start + len(seen) - len(some)
                points = [
                    state.point(i._replace(version=i.version or new_version()), first + n, adding=token)
                    for n, i in enumerate(some)
                ]
                self.link("upsert", self.items, points, update_filter=where(unless=[lacks("adding")]), **WRITE)
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
        return self.ledger.state().journal

    def amend(self, before: Journal, after: Journal) -> None:
        state, names = self.ledger.as_before(before), {}
        if after.new_dim and (after.migration, after.new_dim) != (before.migration, before.new_dim):
            names = {column: self.ledger.column(column, after, after.new_dim) for column in COLUMNS[1:]}
        try:
            self.ledger.replace(state, after, **names)
        except Conflict:
            for name in names.values():
                self.ledger.drop(name, after)
            raise

    def put(self, item: Item, during: Journal) -> None:
        state, id = self.ledger.state(), point_id(item.id)
        _check_phase(state, during)
        check_vector(item.id, "old", item.old, state.journal.dim)
        check_vector(item.id, "new", item.new, state.journal.new_dim)
        there = self.link("retrieve", self.items, [id], ["seq"], **READ)
        point = state.point(item, there[0].payload["seq"] if there else time.time_ns())
        try:
            self.link("upsert", self.items, [point], update_filter=where([within("era", lte=state.era)]), **WRITE)
        except Refused as error:
            if self.ledger.state().marks[-1] == state.marks[-1]:
                raise
            raise Conflict from error
        there = self.link("retrieve", self.items, [id], ["era"], **READ)
        _check_phase(self.ledger.state(), during)
        if there and there[0].payload["era"] > state.era:
            raise Conflict

    def describe(self, id: str, meta: Mapping[str, Any]) -> bool:
        it = are([point_id(id)])
        if not self.link("retrieve", self.items, it.has_id, False, **READ):
            return False
        self.link("set_payload", self.items, self.ledger.state().described(meta), where([it]), **WRITE)
        return True

    def delete(self, id: str) -> bool:
        ids = [point_id(id)]
        if not self.link("retrieve", self.items, ids, False, **READ):
            return False
        self.link("delete", self.items, models.PointIdsList(points=ids), **WRITE)
        return True

    def get(self, id: str) -> Item | None:
        state = self.ledger.state()
        found = self.link("retrieve", self.items, [point_id(id)], True, state.names(*COLUMNS), **READ)
        return state.item(found[0]) if found else None

    def exchange(self, report: Report, count: int, lease: float, below: int | None = None) -> Turn:
        """What is written is counted just before: of two who hand in the same at once, both may count it."""
        state = self.ledger.state()
        ours, written = state.journal.migration == report.migration, 0
        if ours and state.journal.phase in TAKES:
            for id, _, vector in report.done:
                check_vector(id, "new", vector, state.journal.new_dim)
            written = self._write(state, "new", report.done, has(state.new))
            for id, version, reason in report.dead:
                failed = {"failed": state.new, "failure": reason}
                it = where([are([point_id(id)]), is_one("stamp", stamp(id, version))], has(state.new))
                self.link("set_payload", self.items, failed, it, **WRITE)
        if report.figures:
            self.ledger.beat(report.worker, report.figures)
        due = where([within("place", lt=below)] if below is not None else [], has(state.new) + _failed(state))
        left = bool(self.link("scroll", self.items, due, 1, with_payload=False, **READ)[0])
        claims = left and ours and state.journal.phase == "running" and count > 0
        return Turn(written, claimed(self.link, report.worker, due, count, lease) if claims else [], left)

    def retry(self) -> int:
        state = self.ledger.state()
        failed = where(_failed(state) or has(None), has(state.new))
        count = self._count(failed)
        self.link("delete_payload", self.items, ["failed", "failure"], failed, **WRITE)
        return count

    def beat(self, name: str, figures: Mapping[str, float]) -> None:
        self.ledger.beat(name, figures)

    def beats(self, since: float) -> dict[str, Mapping[str, float]]:
        return self.ledger.beats(since)

    def counts(self) -> Counts:
        state = self.ledger.state()
        failed, missing = _failed(state), has(state.new)
        total, pending = self._count(where()), self._count(where(unless=missing + failed))
        lost = self._count(where(failed or has(None), missing))
        return Counts(total, total - pending - lost, pending, lost, self._count(where(unless=missing + has(state.old))))

    def without_old(self, count: int) -> list[Work]:
        bare = where(unless=has(self.ledger.state().old))
        found = self.link("scroll", self.items, bare, count, with_payload=WORK, **READ)[0]
        return [Work(record.payload["id"], record.payload["version"], record.payload["content"]) for record in found]

    def sample(self, count: int) -> list[Item]:
        state = self.ledger.state()
        if count == 0:
            return []
        drawn = models.SampleQuery(sample=models.Sample.RANDOM)
        options = {"limit": count, "with_payload": True, "with_vectors": state.names(*COLUMNS), **READ}
        found = self.link("query_points", self.items, drawn, query_filter=where(has(state.new)), **options)
        return [state.item(record) for record in found.points]

    def gallery(self, new: bool = False) -> Gallery:
        state = self.ledger.state()
        columns: tuple[Column, ...] = ("old", "new") if new else ("old",)
        found = list(self._all(where(has(state.old)), state.names(*columns)))
        found.sort(key=lambda record: record.payload["seq"])
        items = [state.item(record) for record in found]
        dims = state.journal.dim, state.journal.new_dim if new else 0
        missing = np.full(dims[1], np.nan, np.float32)
        return Gallery(
            [item.id for item in items],
            np.array([item.version for item in items], np.int64),
            np.array([record.payload["place"] for record in found], np.int64),
            np.array([item.old for item in items], np.float32).reshape(-1, dims[0]),
            np.array([missing if i.new is None else i.new for i in items], np.float32).reshape(len(items), dims[1]),
        )

    def place(self, ids: Sequence[str]) -> None:
        self.link("set_payload", self.items, {"place": -1}, where([within("place", gte=0)]), **WRITE)
        for start in range(0, len(ids), CHUNK):
            places = {point_id(id): start + n for n, id in enumerate(ids[start : start + CHUNK])}

            def write(there: list[str], places: Mapping[str, int] = places) -> None:
                each = (models.SetPayload(payload={"place": places[id]}, points=[id]) for id in there)
                steps = [models.SetPayloadOperation(set_payload=step) for step in each]
                self.link("batch_update_points", self.items, steps, **WRITE)

            self._on(where([are(places)]), write)

    def fill(self, column: Column, rows: Iterable[tuple[str, int, np.ndarray]]) -> int:
        state, left = self.ledger.state(), iter(rows)
        return sum(self._write(state, column, some) for some in iter(lambda: list(islice(left, CHUNK)), []))

    def search(self, asks: Sequence[Ask], k: int, where: Where | None = None) -> list[Found]:
        """The old part first, then the new one: see above."""
        while True:
            state = self.ledger.state()
            filters = [is_one("tags", tag(*field)) for field in check_fields(where, state.journal).items()]
            order = sorted(range(len(asks)), key=lambda n: asks[n].column == "new")
            try:
                its = {n: found(self.link, state, asks[n], k, filters, self.approximate.above) for n in order}
            except Refused:
                if self.ledger.state().marks == state.marks:
                    raise
                continue
            return [its[n] for n in range(len(asks))]

    def revert(self, before: Journal, after: Journal) -> None:
        state = self._all_have(before, "old")
        self.ledger.replace(state, after, bridge=None, new=None)

    def drop_old(self, before: Journal, after: Journal) -> None:
        state = self._all_have(before, "new")
        self.ledger.replace(state, after, old=None, bridge=None)

    def advance(self, before: Journal, after: Journal) -> None:
        state = self.ledger.as_before(before)
        self.ledger.replace(state, after, old=state.new, bridge=None, new=None)

    def size(self) -> int:
        """Of a folder. A server does not tell; then what its vectors need, of 4 bytes a number."""
        if self.link.folder:
            return sum(file.stat().st_size for file in self.link.folder.rglob("*") if file.is_file())
        state = self.ledger.state()
        dims = {"old": state.journal.dim, "bridge": state.journal.new_dim, "new": state.journal.new_dim}
        copies = 1 if state.journal.distance == "l2" else 2
        return sum(4 * copies * dims[name] * self._count(where(has(getattr(state, name)))) for name in COLUMNS)

    def close(self) -> None:
        self.link.close()

    def _all_have(self, before: Journal, column: Column) -> State:
        """The state, if it is as it was and all items have a vector of a column."""
        state = self.ledger.as_before(before)
        self.ledger.settle(state)
        lacking = where(unless=has(getattr(state, column)))
        if self.link("scroll", self.items, lacking, 1, with_payload=False, **READ)[0]:
            raise Conflict
        return state

    def _count(self, some: models.Filter) -> int:
        return self.link("count", self.items, some, exact=True).count

    def _write(
        self, state: State, column: Column, rows: Sequence[tuple[str, int, np.ndarray]], unless: Sequence[Any] = ()
    ) -> int:
        """Write vectors to the versions that they are of; how many. Of one id, one after the other."""
        name, count = getattr(state, column), 0
        while rows and name is not None:
            now: dict[str, tuple[str, int, np.ndarray]] = {}
            later = []
            for row in rows:
                if len(now) < CHUNK and now.setdefault(point_id(row[0]), row) is row:
                    continue
                later.append(row)
            condition = where([is_one("stamp", *(stamp(id, version) for id, version, _ in now.values()))], unless)

            def write(there: list[str], now: Any = now, condition: models.Filter = condition) -> None:
                vectors = {id: stored(name, now[id][2], state.journal.distance) for id in there}
                points = [models.PointVectors(id=id, vector=named) for id, named in vectors.items()]
                self.link("update_vectors", self.items, points, update_filter=condition, **WRITE)

            try:
                count += self._on(models.Filter(must=[are(now), condition]), write)
            except Refused:
                if getattr(self.ledger.state(), column) == name:
                    raise
                return count
            rows = later
        return count

    def _on(self, some: models.Filter, step: Callable[[list[str]], None]) -> int:
        """Do something to points; again, without them, if some are deleted meanwhile."""
        before: list[str] = []
        while there := [r.id for r in self.link("scroll", self.items, some, CHUNK, with_payload=False, **READ)[0]]:
            try:
                step(there)
            except Refused:
                if there == before:
                    raise
                before = there
                continue
            return len(there)
        return 0

    def _all(self, some: models.Filter, vectors: list[str]) -> Iterator[Any]:
        """All points, by and by."""
        after = None
        while True:
            found, after = self.link(
                "scroll", self.items, some, PAGE, offset=after, with_payload=True, with_vectors=vectors, **READ
            )
            yield from found
            if after is None:
                return


def _check_phase(state: State, during: Journal) -> None:
    if (state.journal.migration, state.journal.phase) != (during.migration, during.phase):
        raise Conflict


def _failed(state: State) -> list[Any]:
    """The conditions that hold for dead letters of this migration."""
    return [is_one("failed", state.new)] if state.new else []
