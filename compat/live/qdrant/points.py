"""Points of items, the journal's point, and filters, in Qdrant (experimental).

Qdrant normalises vectors under cosine. So a cosine column is two vectors: a normalised one, searched by dot product,
and the original, unindexed, from which the searcher computes distances.
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

SPACE = uuid.UUID("6f1f8a0e-5a3c-4b0c-9b6e-2d7a6a0f4c11")  # namespace of the points' UUIDs, version 5
JOURNAL = str(uuid.uuid5(SPACE, "journal"))
RAW = "-raw"  # suffix of the original vector under cosine
REMEMBERED = 64  # number of last changes whose marks are kept
KINDS: Mapping[Phase, int] = {"none": 0, "planned": 0, "rolled_back": 0, "rolling_back": 2, "finalized": 3}
DURING = 1


@dataclass(frozen=True)
class JournalPoint:
    """The journal, and the names of the columns.

    Attributes:
        journal: the journal.
        old: name of this column's vectors; None if there is none.
        bridge: likewise.
        new: likewise. Each migration has its own names, never reused.
        retired: names of retired columns.
        era: number which grows with each kind of phase; writes prepared in an earlier era replace no point.
        marks: random marks of this and the last changes.
        fits: number of items learned from -> random name of the fit, in this migration.
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
        """Return the next state, with another journal and other names."""
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
        """Return the payload of the point."""
        content, digest = self.journal.dump()
        columns = {"old": self.old, "bridge": self.bridge, "new": self.new}
        rest = {"retired": list(self.retired), "era": self.era, "marks": list(self.marks), "mark": self.marks[-1]}
        return {"content": content, "digest": digest, **columns, **rest, "fits": dict(self.fits)}

    def names(self, *columns: Column) -> list[str]:
        """Return the names of the original vectors of the existing ones of these columns."""
        return [raw_name(name, self.journal.distance) for column in columns if (name := getattr(self, column))]

    def vectors(self, item: Item) -> dict[str, Any]:
        """Return the vectors of an item by name.

        Raises:
            InputError: a column which does not exist.
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
        """Make the point of an item."""
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
        """Return the payload for filters: each field and value as one keyword."""
        values = {**dict.fromkeys(self.journal.fields), **meta}
        return {"meta": dict(meta), "tags": [tag(name, value) for name, value in values.items()]}

    def item(self, record: Any) -> Item:
        """Return the item of a point."""
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
    """Load a state from its payload.

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
    """Return the kind of a phase; phases of one kind require the same embeddings of a write."""
    return KINDS.get(phase, DURING)


def new_name(column: Column, migration: int) -> str:
    """Make a vector name which was never used."""
    return f"{column}-{migration}-{secrets.token_hex(4)}"


def raw_name(name: str, distance: Distance) -> str:
    """Return the name of a column's original vectors."""
    return name + RAW if distance == "cosine" else name


def scale(rows: np.ndarray, distance: Distance) -> np.ndarray:
    """Return vectors (N, D) as searched: under cosine normalised in float64."""
    if distance == "l2":
        return rows
    found = torch.from_numpy(np.array(rows, np.float32))
    return (found.double() * inverse_norms(found)[:, None]).float().numpy()


def named_vectors(name: str, vector: np.ndarray, distance: Distance) -> dict[str, Any]:
    """Return a vector under its stored names, with exact float32 values."""
    vector = np.asarray(vector, np.float32)
    return {name: scale(vector[None], distance)[0].tolist(), raw_name(name, distance): vector.tolist()}


def point_id(id: str) -> str:
    """Return the point id of an item; any text has one.

    Raises:
        InputError: the id is not text.
    """
    return str(uuid.uuid5(SPACE, f"item {check_text('id', id)}"))


def stamp(id: str, version: int) -> str:
    """Join version and item to one key, so one condition covers a batch of items."""
    return f"{version} {id}"


def tag(name: str, value: Any) -> str:
    """Return a field and its value as text, equal for equal values (1, 1.0 and true)."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    return json.dumps([name, value], sort_keys=True)


def matches_any(key: str, *values: Any) -> models.FieldCondition:
    """Match points with one of these values under a key."""
    return models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))


def in_range(key: str, **bounds: float) -> models.FieldCondition:
    """Match points with a number within bounds (lt, lte, gt, gte) under a key."""
    return models.FieldCondition(key=key, range=models.Range(**bounds))


def is_missing(key: str) -> models.IsEmptyCondition:
    """Match points without a value under a key."""
    return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))


def has_ids(ids: Iterable[str]) -> models.HasIdCondition:
    """Match these points."""
    return models.HasIdCondition(has_id=list(ids))


def has_vector(name: str | None) -> list[Any]:
    """Match points with a vector of this name; without a name, none."""
    return [has_ids([]) if name is None else models.HasVectorCondition(has_vector=name)]


def all_of(must: Sequence[Any] = (), unless: Sequence[Any] = ()) -> models.Filter:
    """Match all of these conditions, and none of `unless`."""
    return models.Filter(must=list(must), must_not=list(unless))


def failed_conditions(state: JournalPoint) -> list[Any]:
    """Match failed items of this migration."""
    return [matches_any("failed", state.new)] if state.new else []


def pending_filter(state: JournalPoint, below: int | None = None) -> models.Filter:
    """Match pending items, whoever has claimed them."""
    return all_of(
        [] if below is None else [in_range("place", lt=below)], has_vector(state.new) + failed_conditions(state)
    )
