"""The journal of a store in Qdrant (experimental), and the columns which it names.

The journal is one point of a collection of its own. It is replaced under the condition that it still has the random
mark of the state which was read; the marks of the last changes tell whose change won. So machines need no shared file.

Columns are named vectors, and the journal has their names. Each migration has its own names, never reused. So a
rollback, a finalize and the step to the next migration are one change of the journal, whatever the number of items;
retired vectors are deleted afterwards. A late write of an earlier migration's worker names a missing vector, and Qdrant
refuses it.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import secrets
import time
import uuid
from collections.abc import Mapping
from typing import Any

from compat.errors import InputError
from compat.live.items import Column, Entry, Journal
from compat.live.qdrant.connection import READ, WRITE, QdrantConnection, Refused, models
from compat.live.qdrant.points import (
    JOURNAL,
    SPACE,
    JournalPoint,
    all_of,
    has_ids,
    in_range,
    load_state,
    matches_any,
    new_name,
    raw_name,
)
from compat.live.sql import audit_row
from compat.live.store import Conflict

MANY = 10_000  # maximum number of heartbeats, or of parts of a fit
PART = 2**20  # bytes of a part of a fit
INDEXED = {"place": models.PayloadSchemaType.INTEGER} | dict.fromkeys(
    ("stamp", "tags", "worker"), models.PayloadSchemaType.KEYWORD
)


class JournalStore:
    """Two collections: the items, and beside it the journal with heartbeats, fits and the audit log.

    Args:
        link: connection to them.
    """

    def __init__(self, link: QdrantConnection) -> None:
        self.link, self.items, self.notes = link, link.collection, f"{link.collection}_journal"

    def create(self, journal: Journal) -> None:
        """Create both, the journal's point last.

        Raises:
            InputError: the store exists, or a collection of another kind.
        """
        self.link.open(make=True)
        there = {name: self.link("collection_exists", name) for name in (self.items, self.notes)}
        begun = there[self.notes] and not self.link("retrieve", self.notes, [JOURNAL], **READ)
        if there[self.notes] and not begun:
            raise InputError(f"store: {self.items!r} at {self.link.shown} is one, expected a new collection")
        if there[self.items] and not begun:
            raise InputError(f"store: {self.items!r} at {self.link.shown} is a collection, expected a new one")
        if begun:
            for name in (self.items, self.notes):
                self.link("delete_collection", name)
        nothing = {"none": models.VectorParams(size=1, distance=models.Distance.DOT)}
        self.link("create_collection", self.notes, vectors_config=nothing)
        names = {"old": new_name("old", journal.migration)}
        first = self._params(names["old"], journal, journal.dim)
        self.link("create_collection", self.items, vectors_config=first)
        if not self.link.folder:
            for key, schema in INDEXED.items():
                self.link("create_payload_index", self.items, key, schema, wait=True)
        if journal.new_dim:
            names |= {column: self.create_column(column, journal, journal.new_dim) for column in ("bridge", "new")}
        state = JournalPoint(journal).after(journal, **names)
        self._write_note(JOURNAL, state.dump(), models.UpdateMode.INSERT_ONLY)
        if state.marks[-1] not in self.state().marks:
            raise InputError(
                f"store: {self.items!r} at {self.link.shown} was made by another process, expected a new collection"
            )

    def state(self) -> JournalPoint:
        """Read the journal's point.

        Raises:
            InputError: there is none; it was tampered with.
        """
        try:
            found = self.link("retrieve", self.notes, [JOURNAL], **READ)
        except Refused as error:
            raise InputError(self._describe_missing()) from error
        if not found:
            raise InputError(self._describe_missing())
        return load_state(found[0].payload)

    def unchanged_state(self, before: Journal) -> JournalPoint:
        """Read the journal's point, if the journal is unchanged.

        Raises:
            Conflict: it has changed.
        """
        state = self.state()
        if state.journal.dump() != before.dump():
            raise Conflict
        return state

    def replace(self, state: JournalPoint, after: Journal, **names: str | None) -> None:
        """Replace the journal's point.

        Raises:
            Conflict: another change came first.
        """
        following = state.after(after, **names)
        unchanged = all_of([has_ids([JOURNAL]), matches_any("mark", state.marks[-1])])
        self.link("set_payload", self.notes, following.dump(), unchanged, **WRITE)
        if following.marks[-1] not in self.state().marks:
            raise Conflict
        if after != state.journal:
            at, who, version, changes = audit_row(state.journal, after)
            change = {"told": at, "who": who, "version": version, "changes": changes}
            self._write_note(str(uuid.uuid4()), change)
        if (following.era, following.retired) != (state.era, state.retired):
            self.settle(following)

    def settle(self, state: JournalPoint) -> None:
        """Block writes prepared before this era, and delete the retired columns.

        Each change of the journal does so; if its process died, the next one which relies on it does.
        """
        self.link("set_payload", self.items, {"era": state.era}, all_of([in_range("era", lt=state.era)]), **WRITE)
        for name in state.retired:
            self.drop_column(name, state.journal)

    def create_column(self, column: Column, journal: Journal, dim: int) -> str:
        """Create a column, and return its name."""
        name = new_name(column, journal.migration)
        for each, params in self._params(name, journal, dim).items():
            config = models.DenseVectorConfig(size=dim, distance=params.distance)
            self.link("create_vector_name", self.items, each, models.DenseVectorNameConfig(dense=config), **WRITE)
            if params.on_disk:
                unsearched = models.VectorParamsDiff(hnsw_config=params.hnsw_config, on_disk=True)
                self.link("update_collection", self.items, vectors_config={each: unsearched})
        return name

    def drop_column(self, name: str, journal: Journal) -> None:
        """Delete a column, if it still exists."""
        for each in dict.fromkeys((name, raw_name(name, journal.distance))):
            self.link("delete_vector_name", self.items, each, **WRITE)

    def store_fit(self, state: JournalPoint, after: Journal, fit: bytes) -> JournalPoint:
        """Write a fit in parts, as a server limits the size of a request; return the state to replace.

        The parts have a random name, and count once the journal has it.

        Raises:
            Conflict: there is a fit for `after.learned`.
        """
        if str(after.learned) in state.fits:
            raise Conflict
        name = secrets.token_hex(8)
        for n, start in enumerate(range(0, len(fit), PART)):
            part = base64.b64encode(fit[start : start + PART]).decode()
            payload = {"fit": name, "of": after.migration, "n": n, "part": part}
            self._write_note(str(uuid.uuid5(SPACE, f"fit {name} {n}")), payload)
        return dataclasses.replace(state, fits={**state.fits, str(after.learned): name})

    def load_fit(self, journal: Journal) -> bytes | None:
        """Implement `Store.fit`."""
        at = str(journal.learned)
        state = self.state()
        if state.journal.migration != journal.migration or at not in state.fits:
            return None
        found = self.link("scroll", self.notes, all_of([matches_any("fit", state.fits[at])]), limit=MANY, **READ)[0]
        if self.state().fits.get(at) != state.fits[at]:
            return None  # another migration was planned meanwhile
        parts = sorted((record.payload["n"], record.payload["part"]) for record in found)
        return b"".join(base64.b64decode(part) for _, part in parts)

    def delete_earlier_fits(self, journal: Journal) -> None:
        """Delete the fits of earlier migrations."""
        earlier = all_of([in_range("of", lt=journal.migration)])
        self.link("delete", self.notes, models.FilterSelector(filter=earlier), **WRITE)

    def beat(self, name: str, figures: Mapping[str, float]) -> None:
        """Implement `Store.beat`."""
        self._write_note(
            str(uuid.uuid5(SPACE, f"beat {name}")), {"name": name, "at": time.time(), "figures": dict(figures)}
        )

    def beats(self, since: float) -> dict[str, Mapping[str, float]]:
        """Implement `Store.beats`."""
        recent = all_of([in_range("at", gt=time.time() - since)])
        found = self.link("scroll", self.notes, recent, limit=MANY, **READ)[0]
        return {record.payload["name"]: record.payload["figures"] for record in found}

    def history(self, count: int) -> list[Entry]:
        """Implement `Store.history`."""
        found = self.link("scroll", self.notes, all_of([in_range("told", gt=0.0)]), limit=MANY, **READ)[0]
        rows = sorted((record.payload for record in found), key=lambda row: row["told"], reverse=True)
        return [Entry(row["told"], row["who"], row["version"], json.loads(row["changes"])) for row in rows[:count]]

    def _write_note(
        self, id: str, payload: Mapping[str, Any], mode: models.UpdateMode = models.UpdateMode.UPSERT
    ) -> None:
        point = models.PointStruct(id=id, vector={}, payload=dict(payload))
        self.link("upsert", self.notes, [point], update_mode=mode, **WRITE)

    def _params(self, name: str, journal: Journal, dim: int) -> dict[str, models.VectorParams]:
        """Return the parameters of a column's vectors."""
        distance = models.Distance.EUCLID if journal.distance == "l2" else models.Distance.DOT
        found = {name: models.VectorParams(size=dim, distance=distance)}
        if (kept := raw_name(name, journal.distance)) != name:
            unsearched = models.HnswConfigDiff(m=0)
            found[kept] = models.VectorParams(size=dim, distance=distance, hnsw_config=unsearched, on_disk=True)
        return found

    def _describe_missing(self) -> str:
        """Describe what is there instead of a store."""
        found = f"no collection {self.items!r}"
        if self.link("collection_exists", self.items):
            found = f"collection {self.items!r} without a journal"
            vectors = self.link("get_collection", self.items).config.params.vectors
            if isinstance(vectors, models.VectorParams):
                found = f"collection {self.items!r} has one vector without a name"
        return f"store: {found} at {self.link.shown}, expected one made by `init`, with a journal and named vectors"
