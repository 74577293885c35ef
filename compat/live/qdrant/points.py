"""What a Qdrant holds for a store: points of items, the point of the journal, and conditions on them.

Qdrant scales what it stores under cosine. So there a column is two vectors: one scaled here, which is searched by dot
product, and one as it was given, which is not indexed, and from which the searcher computes distances.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from compat.engine.exact import Distance, inverse_norms
from compat.errors import InputError
from compat.live.checks import check_text
from compat.live.items import Column, Item, Journal, Phase, load_journal
from compat.live.qdrant.connection import models

SPACE = uuid.UUID("6f1f8a0e-5a3c-4b0c-9b6e-2d7a6a0f4c11")  # of the names of points, version 5
JOURNAL = str(uuid.uuid5(SPACE, "journal"))
RAW = "-raw"  # a cosine's second vector: as it was given
REMEMBERED = 64  # changes of the journal that can still be told to have been made
KINDS: Mapping[Phase, int] = {"none": 0, "planned": 0, "rolled_back": 0, "rolling_back": 2, "finalized": 3}
DURING = 1


@dataclass(frozen=True)
class JournalPoint:
    """The journal, and where the columns are.

    Attributes:
        journal: the journal.
        old: name of the vectors of this column, None where there is none.
        bridge: likewise.
        new: likewise. Each migration has names of its own, which never come again.
        retired: names of columns that are no more.
        era: it grows with each kind of phase; a point is not replaced by what was prepared in an earlier one.
        marks: random, of this and the last changes.
        fits: how many items were learned from -> the random name of what was learned, in this migration.
    """

    journal: Journal
    old: str | None = None
    bridge: str | None = None
    new: str | None = None
    retired: tuple[str, ...] = ()
    era: int = 0
    marks: tuple[str, ...] = ()
    fits: Mapping[str, str] = field(default_factory=dict)

    def after(self, journal: Journal, **names: Any) -> JournalPoint:
        """The state that follows with another journal and other names."""
        gone = [name for column in names if (name := getattr(self, column)) and names[column] != name]
        kept = [name for name in names.values() if name]
        return replace(
            self,
            journal=journal,
            **names,
            retired=(*self.retired, *(name for name in gone if name not in kept)),
            era=self.era + (phase_kind(journal.phase) != phase_kind(self.journal.phase)),
            marks=(*self.marks[-REMEMBERED:], secrets.token_hex(8)),
            fits=self.fits if journal.migration == self.journal.migration else {},
        )

    def dump(self) -> dict[str, Any]:
        """As the payload of a point."""
        content, digest = self.journal.dump()
        columns = {"old": self.old, "bridge": self.bridge, "new": self.new}
        rest = {"retired": list(self.retired), "era": self.era, "marks": list(self.marks), "mark": self.marks[-1]}
        return {"content": content, "digest": digest, **columns, **rest, "fits": dict(self.fits)}

    def names(self, *columns: Column) -> list[str]:
        """Names of vectors as they were given, of those columns that there are."""
        return [raw_name(name, self.journal.distance) for column in columns if (name := getattr(self, column))]

    def vectors(self, item: Item) -> dict[str, Any]:
        """The vectors of an item by name.

        Raises:
            InputError: a column that there is none of.
        """
        found: dict[str, Any] = {}
        for column in ("old", "bridge", "new"):
            vector, name = getattr(item, column), getattr(self, column)
            if vector is None:
                continue
            if name is None:
                raise InputError(f"{column}: one of item {item.id!r}, expected none in phase {self.journal.phase}")
            found |= named_vectors(name, vector, self.journal.distance)
        return found

    def point(self, item: Item, seq: int, place: int = -1, **more: Any) -> models.PointStruct:
        """The point of an item."""
        payload = {
            "id": item.id,
            "content": item.content,
            "version": item.version,
            "stamp": stamp(item.id, item.version),
            "place": place,
            "era": self.era,
            "seq": seq,
            **self.meta_payload(item.meta),
            **more,
        }
        return models.PointStruct(id=point_id(item.id), vector=self.vectors(item), payload=payload)

    def meta_payload(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        """Payload that queries are filtered by: each field with its value as one keyword."""
        values = {**dict.fromkeys(self.journal.fields), **meta}
        return {"meta": dict(meta), "tags": [tag(name, value) for name, value in values.items()]}

    def item(self, record: Any) -> Item:
        """The item of a point that was read whole."""
        payload = record.payload
        found = Item(payload["id"], payload["content"], payload["meta"], payload["version"])
        vectors: dict[str, Any] = {
            column: np.array(vector, np.float32)
            for column in ("old", "bridge", "new")
            for name in self.names(column)
            if (vector := (record.vector or {}).get(name)) is not None
        }
        failed = self.new is not None and "new" not in vectors and payload.get("failed") == self.new
        return found._replace(**vectors, failure=payload["failure"] if failed else None)


def load_state(payload: Mapping[str, Any]) -> JournalPoint:
    """The state as it was dumped.

    Raises:
        InputError: the journal was tampered with.
    """
    return JournalPoint(
        load_journal(payload["content"], payload["digest"]),
        old=payload.get("old"),
        bridge=payload.get("bridge"),
        new=payload.get("new"),
        retired=tuple(payload["retired"]),
        era=payload["era"],
        marks=tuple(payload["marks"]),
        fits=payload.get("fits", {}),
    )


def phase_kind(phase: Phase) -> int:
    """Phases of one kind call for the same embeddings of what is written."""
    return KINDS.get(phase, DURING)


def new_name(column: Column, migration: int) -> str:
    """A name of vectors that none ever had."""
    return f"{column}-{migration}-{secrets.token_hex(4)}"


def raw_name(name: str, distance: Distance) -> str:
    """Where the vectors of a name are as they were given."""
    return name + RAW if distance == "cosine" else name


def scale(rows: np.ndarray, distance: Distance) -> np.ndarray:
    """Vectors (N, D) as they are searched, under cosine of length 1, scaled in float64."""
    if distance == "l2":
        return rows
    found = torch.from_numpy(np.array(rows, np.float32))
    return (found.double() * inverse_norms(found)[:, None]).float().numpy()


def named_vectors(name: str, vector: np.ndarray, distance: Distance) -> dict[str, Any]:
    """A vector by the names under which it is stored; floats are those of float32, to the last bit."""
    vector = np.asarray(vector, np.float32)
    return {name: scale(vector[None], distance)[0].tolist(), raw_name(name, distance): vector.tolist()}


def point_id(id: str) -> str:
    """Of an item: any text has one.

    Raises:
        InputError: it is no text.
    """
    return str(uuid.uuid5(SPACE, f"item {check_text('id', id)}"))


def stamp(id: str, version: int) -> str:
    """Version and item in one, so that one condition holds for a batch of different items."""
    return f"{version} {id}"


def tag(name: str, value: Any) -> str:
    """A field and its value, as text that is equal where they are: 1, 1.0 and true are."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    return json.dumps([name, value], sort_keys=True)


def matches_any(key: str, *values: Any) -> models.FieldCondition:
    """The payload has one of these under a key."""
    return models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))


def in_range(key: str, **bounds: float) -> models.FieldCondition:
    """The payload has a number within bounds (lt, lte, gt, gte) under a key."""
    return models.FieldCondition(key=key, range=models.Range(**bounds))


def is_missing(key: str) -> models.IsEmptyCondition:
    """The payload has nothing under a key."""
    return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))


def has_ids(ids: Iterable[str]) -> models.HasIdCondition:
    """It is one of these points."""
    return models.HasIdCondition(has_id=list(ids))


def has_vector(name: str | None) -> list[Any]:
    """The conditions that hold for points with a vector of this name; of no name, for none."""
    return [has_ids([]) if name is None else models.HasVectorCondition(has_vector=name)]


def all_of(must: Sequence[Any] = (), unless: Sequence[Any] = ()) -> models.Filter:
    """All of these, and none of those."""
    return models.Filter(must=list(must), must_not=list(unless))


def failed_conditions(state: JournalPoint) -> list[Any]:
    """The conditions that hold for dead letters of this migration."""
    return [matches_any("failed", state.new)] if state.new else []


def pending_filter(state: JournalPoint, below: int | None = None) -> models.Filter:
    """Items that are to be migrated, whoever has claimed them."""
    return all_of(
        [] if below is None else [in_range("place", lt=below)], has_vector(state.new) + failed_conditions(state)
    )
