"""Types of the live engine: items, batches and reports of workers, counts, and the journal of a migration."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from compat.errors import InputError

if TYPE_CHECKING:
    from compat.engine.exact import Distance


Column: TypeAlias = Literal["old", "bridge", "new"]
Phase: TypeAlias = Literal[
    "none", "planned", "running", "paused", "complete", "verified", "finalized", "rolling_back", "rolled_back"
]
UNDER_WAY: tuple[Phase, ...] = ("planned", "running", "paused", "complete", "verified", "rolling_back")
JSON_NAMES = {"failed_sample": "doubt"}  # fields with another name in JSON, kept for existing stores
SERVES_BOTH: tuple[Phase, ...] = ("running", "paused", "complete", "verified", "rolling_back")


class Item(NamedTuple):
    """An item of a gallery; it is migrated if it has a new embedding, and only one embedding serves it.

    Attributes:
        id: its name.
        content: input of the models: a path, a URL, a key of another table.
        meta: fields by which queries can filter.
        version: drawn at random whenever the content is written, so vectors of an earlier content are refused.
        old: (D_old,) embedding of the old model.
        bridge: (D,) vector searched instead of `old` if a method transforms the gallery.
        new: (D_new,) embedding of the new model.
        failure: reason why the new model could not read it; the item is then served by its old embedding.
    """

    id: str
    content: str
    meta: Mapping[str, Any]
    version: int = 0
    old: np.ndarray | None = None
    bridge: np.ndarray | None = None
    new: np.ndarray | None = None
    failure: str | None = None


def new_version() -> int:
    """Draw a version of 62 random bits, which no content has had before."""
    return secrets.randbits(62)


def new_store() -> str:
    """Draw a random id for a store."""
    return secrets.token_hex(8)


class Work(NamedTuple):
    """An item to embed.

    Attributes:
        id: id of the item.
        version: version of its content.
        content: input of the models.
        place: place in the order of the migration; -1: written since the plan, or unknown.
    """

    id: str
    version: int
    content: str
    place: int = -1


@dataclass(frozen=True)
class Report:
    """The results of a worker's last batch, and figures about the worker.

    Attributes:
        worker: name of the worker.
        migration: number of its migration; results for another migration are refused.
        done: id, version and new embedding of each item.
        failed: id, version and reason of each failed item.
        figures: figures for `status`.
    """

    worker: str
    migration: int
    done: Sequence[tuple[str, int, np.ndarray]] = ()
    failed: Sequence[tuple[str, int, str]] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


class Turn(NamedTuple):
    """The store's answer to a report.

    Attributes:
        written: number of vectors written.
        work: the next batch.
        left: whether any item below the limit is still pending, whoever claimed it.
    """

    written: int
    work: list[Work]
    left: bool


class Counts(NamedTuple):
    """Numbers of items: in total, migrated, pending, failed, and those pending or failed without any embedding."""

    total: int
    new: int
    pending: int
    failed: int
    unserved: int


class Candidates(NamedTuple):
    """Nearest items of one part for some queries, as a store finds them.

    Attributes:
        ids: (N,) ids of the items found by any query.
        meta: (N,) their meta.
        vectors: (N, D) their stored vectors.
        nearest: (Q, K) indices into these, nearest first; -1 if there are no more.
    """

    ids: list[str]
    meta: list[Mapping[str, Any]]
    vectors: np.ndarray
    nearest: np.ndarray


class Entry(NamedTuple):
    """A change of the journal, as kept in the store's audit log.

    Attributes:
        at: seconds since the epoch, by the clock of the process.
        who: user, machine and process.
        version: version of this package.
        changes: field -> (before, after).
    """

    at: float
    who: str
    version: str
    changes: Mapping[str, Any]


class StoredGallery(NamedTuple):
    """All items with an old embedding, in order of insertion.

    Attributes:
        ids: (G,).
        version: (G,) int64.
        place: (G,) place in the order of the migration; -1: written since the plan.
        old: (G, D_old) float32; no columns if not requested.
        new: (G, D_new) float32, NaN for items not migrated; no columns if not requested.
    """

    ids: list[str]
    version: np.ndarray
    place: np.ndarray
    old: np.ndarray
    new: np.ndarray


@dataclass(frozen=True)
class Journal:
    """State of a store and its migration, apart from its items.

    Attributes:
        dim: D_old.
        distance: distance of the retrieval.
        fields: fields of `meta` by which queries can filter.
        store: id of the store, drawn by `create`.
        generation: generation of the old embeddings: number of the migration which made them, 0 for those of `add`.
        migration: number of the migration, starting at 1.
        phase: phase of the migration.
        items: G at the time of the plan.
        new_dim: D_new as stored.
        fingerprint: versions of the models, by name.
        order: order of the migration, with its seed.
        batch: items per batch.
        rate: maximum items per second; None: no limit.
        latency: target for the 99th percentile of query time in seconds; workers slow down above it.
        bridged: whether items not migrated are searched by `bridge`.
        learned: number of items among whose pairs an online method was last fitted; 0: never.
        dual: whether items written during the migration also get an old embedding.
        failed_sample: size of the sample in which `verify` found a wrong vector; 0: none.
        note: reason of a pause.
    """

    dim: int
    distance: Distance
    fields: tuple[str, ...] = ()
    migration: int = 0
    phase: Phase = "none"
    items: int = 0
    new_dim: int = 0
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    order: str = ""
    batch: int = 256
    rate: float | None = None
    latency: float | None = None
    bridged: bool = False
    learned: int = 0
    dual: bool = False
    note: str = ""
    failed_sample: int = 0
    generation: int = 0
    store: str = ""

    @property
    def accepts_vectors(self) -> bool:
        """Whether reports of workers are written."""
        return self.phase in ("running", "paused", "complete")

    @property
    def old_generation(self) -> int | None:
        """Generation of the old embeddings; None once they are dropped."""
        return None if self.phase == "finalized" else self.generation

    @property
    def new_generation(self) -> int | None:
        """Generation of the new embeddings; None without a migration."""
        return None if self.phase in ("none", "rolled_back") else self.migration

    @property
    def mode(self) -> str:
        """The parts which serve: "old" before a migration runs and after a rollback, "new" at its end, else "both"."""
        if self.phase in SERVES_BOTH:
            return "both"
        return "new" if self.phase == "finalized" else "old"

    @property
    def serving_key(self) -> tuple[Any, ...]:
        """The fields which must not change while a query is answered."""
        return self.store, self.migration, self.mode, self.learned, self.bridged

    def dim_of(self, column: Column) -> int:
        """Return the dimension of a column's vectors."""
        return self.dim if column == "old" else self.new_dim

    def record(self) -> dict[str, Any]:
        """Return the fields by their names in JSON."""
        return {JSON_NAMES.get(name, name): value for name, value in asdict(self).items()}

    def dump(self) -> tuple[str, str]:
        """Return the journal as JSON, and its SHA-256 digest."""
        content = json.dumps(self.record(), sort_keys=True)
        return content, hashlib.sha256(content.encode()).hexdigest()


def load_journal(content: str, digest: str) -> Journal:
    """Load a journal from its JSON.

    Raises:
        InputError: the digest does not match, or a newer version wrote it.
    """
    if hashlib.sha256(content.encode()).hexdigest() != digest:
        raise InputError("journal: its content does not have its digest, expected it as the engine wrote it")
    record = json.loads(content)
    names = {JSON_NAMES.get(f.name, f.name): f.name for f in fields(Journal)}
    unknown = set(record) - set(names)
    if unknown or record["phase"] not in get_args(Phase):
        raise InputError(
            f"journal: {', '.join(sorted(unknown)) or record['phase']} is not known, expected this version's"
        )
    values = {names[name]: value for name, value in record.items()}
    return Journal(**{**values, "fields": tuple(record["fields"])})
