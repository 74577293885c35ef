"""Items and their versions, what a store tells of them, and the journal of a migration."""

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
JSON_NAMES = {"failed_sample": "doubt"}  # fields whose name in JSON differs; it stays, as stores have it
SERVES_BOTH: tuple[Phase, ...] = ("running", "paused", "complete", "verified", "rolling_back")


class Item(NamedTuple):
    """An item of a gallery. Its state is derived: it is migrated if it has a new embedding, and is served by one alone.

    Attributes:
        id: its name.
        content: what the models read: a path, an address, a key of another table.
        meta: what queries may be filtered by.
        version: drawn anew whenever the content is written, so that what was extracted from another is refused.
        old: (D_old,) of the old model.
        bridge: (D,), what is searched in place of `old` where a method transforms the gallery.
        new: (D_new,).
        failure: why the new model could not read it: a dead letter, served by its old embedding.
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
    """One that no content ever had, not even of a deleted item of the same id: random, 62 bits."""
    return secrets.randbits(62)


def new_store() -> str:
    """An id for a store, drawn at random."""
    return secrets.token_hex(8)


class Work(NamedTuple):
    """An item that is to be embedded."""

    id: str
    version: int
    content: str


class Pending(NamedTuple):
    """An item that is to be embedded, and its place in the order of the migration, -1: written since the plan."""

    id: str
    version: int
    content: str
    place: int


@dataclass(frozen=True)
class Report:
    """What a worker hands in: vectors and dead letters of its last batch, and figures about itself.

    Attributes:
        worker: its name.
        migration: what it works for; a store refuses what was extracted for another.
        done: id, version and new embedding.
        dead: id, version and the reason.
        figures: of the worker, for `status`.
    """

    worker: str
    migration: int
    done: Sequence[tuple[str, int, np.ndarray]] = ()
    failed: Sequence[tuple[str, int, str]] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


class Turn(NamedTuple):
    """What a worker gets for its report.

    Attributes:
        written: how many of its vectors were.
        work: the next batch.
        left: whether any item below the limit is still to be migrated, by whomever.
    """

    written: int
    work: list[Work]
    left: bool


class Counts(NamedTuple):
    """How many items there are: in all, migrated, to be migrated, dead letters; of these served by nothing."""

    total: int
    new: int
    pending: int
    failed: int
    unserved: int


class Candidates(NamedTuple):
    """Nearest items of one part to each of some queries, as a store finds them.

    Attributes:
        ids: (N,) of the items found by any query.
        meta: (N,) of them.
        vectors: (N, D) of them, as stored.
        nearest: (Q, K) into these, nearest first, -1 where there are no more.
    """

    ids: list[str]
    meta: list[Mapping[str, Any]]
    vectors: np.ndarray
    nearest: np.ndarray


class Entry(NamedTuple):
    """A change of the journal, as the store's audit keeps it.

    Attributes:
        at: seconds since the epoch, by the clock of whoever made the change.
        who: user, machine and process.
        version: of this package.
        changes: field -> (before, after).
    """

    at: float
    who: str
    version: str
    changes: Mapping[str, Any]


class StoredGallery(NamedTuple):
    """All items that have an old embedding, in the order in which they came.

    Attributes:
        ids: (G,).
        version: (G,) int64.
        place: (G,) in the order of the migration, -1 for what was written since it was planned.
        old: (G, D_old) float32; no columns if it was not asked for.
        new: (G, D_new) float32, NaN for what is not migrated; no columns if it was not asked for.
    """

    ids: list[str]
    version: np.ndarray
    place: np.ndarray
    old: np.ndarray
    new: np.ndarray


@dataclass(frozen=True)
class Journal:
    """What is known of a store and its migration, but for what the items themselves say.

    Attributes:
        dim: D_old.
        distance: of the retrieval.
        fields: of `meta` that queries may be filtered by.
        store: id of the store, drawn by `create`.
        generation: of the old embeddings: the number of the migration that made them, 0 for those of `add`.
        migration: number of the migration, the first is 1.
        phase: of the migration.
        items: G, when it was planned.
        new_dim: D_new of what is stored.
        fingerprint: of the models, by name.
        order: that it was planned in, with the seed.
        batch: items extracted at a time.
        rate: items per second, at most; None: as fast as possible.
        latency: seconds that the slowest query in a hundred may take; extraction makes way for it.
        bridged: whether what is not migrated is searched by `bridge`.
        learned: items in the pairs that were learned from on the way; 0: nothing was.
        dual: whether what is written meanwhile gets an old embedding too.
        doubt: size of the sample in which `verify` found a wrong vector; 0: none is known.
        note: why it is paused.
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
        """Whether what workers hand in is written."""
        return self.phase in ("running", "paused", "complete")

    @property
    def old_generation(self) -> int | None:
        """Number of the old embeddings; None once they are dropped."""
        return None if self.phase == "finalized" else self.generation

    @property
    def new_generation(self) -> int | None:
        """Number of the new embeddings; None while there is no migration."""
        return None if self.phase in ("none", "rolled_back") else self.migration

    @property
    def mode(self) -> str:
        """Which parts serve: "old" before a migration runs and after its rollback, "new" after it, else "both"."""
        if self.phase in SERVES_BOTH:
            return "both"
        return "new" if self.phase == "finalized" else "old"

    @property
    def serving_key(self) -> tuple[Any, ...]:
        """What has to stay while a query is answered."""
        return self.store, self.migration, self.mode, self.learned, self.bridged

    def dim_of(self, column: Column) -> int:
        """Dimension of what a column has."""
        return self.dim if column == "old" else self.new_dim

    def record(self) -> dict[str, Any]:
        """Return the fields by their names in JSON."""
        return {JSON_NAMES.get(name, name): value for name, value in asdict(self).items()}

    def dump(self) -> tuple[str, str]:
        """Return the journal as JSON, and its SHA-256 digest."""
        content = json.dumps(self.record(), sort_keys=True)
        return content, hashlib.sha256(content.encode()).hexdigest()


def load_journal(content: str, digest: str) -> Journal:
    """The journal as it was dumped.

    Raises:
        InputError: it was changed since by something else, or is of a newer version.
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
