"""What the engine needs of a store: one contract, and a test suite that every adapter passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from compat.live.items import (
    Candidates,
    Column,
    Counts,
    Entry,
    Item,
    Journal,
    Pending,
    Report,
    StoredGallery,
    Turn,
    Work,
)

Capability = Literal["compare and set", "snapshot", "many workers"]
Where = Mapping[str, Any]


class Conflict(Exception):
    """The journal is not what it was when the write was prepared: look again."""


NEAREST = 10  # items at which recall is measured
GROWTH = 2  # times more or less items than an approximate index was built for, and it is built again


class Approximate(NamedTuple):
    """When a part is searched approximately, and how well.

    Attributes:
        above: items from which on it is; up to that many it is exact.
        recall: share of the 10 nearest items to find, a mean over queries; a target. It is measured with vectors of the
            part when its index is built; in SQLite and PostgreSQL also with late ones whenever a tenth of the part
            changed, in SQLite with the last real queries too. The index is tuned to lose half of what this allows.
    """

    above: int = 50_000
    recall: float = 0.95


DEFAULT = Approximate()


class Ask(NamedTuple):
    """Queries (Q, D) for the part of the gallery that is searched by a column.

    Items with a new embedding are the part of "new", all others that of "old" and "bridge".
    """

    column: Column
    queries: np.ndarray


class Store(Protocol):
    """A store of items with up to three embeddings each.

    Every method is one atomic step, or is harmless when it is cut short and done again.

    Attributes:
        capabilities: "compare and set": a vector is written only to the version that it was extracted from, without
            which no migration starts; "snapshot": both parts are searched in one state of the store, where without it
            the part that items leave is searched first; "many workers": several processes claim batches at once.
    """

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    def create(self, journal: Journal) -> None:
        """Make the store, empty.

        Raises:
            InputError: there is one.
        """

    def add(self, items: Iterable[Item]) -> int:
        """Add items with their old embeddings, all or none; how many.

        Raises:
            InputError: an id that is there, or comes twice; an embedding of another dimension, NaN; a migration that
                runs or was finalized, where items need what a `Writer` gives them.
        """

    def journal(self) -> Journal:
        """The journal.

        Raises:
            InputError: no store was made here; the journal was tampered with.
        """

    def amend(self, before: Journal, after: Journal, fit: bytes | None = None) -> None:
        """Replace the journal.

        Args:
            before: the journal as it was read.
            after: the journal that takes its place.
            fit: what a learner learned, kept for `after.learned` until the next migration.

        Raises:
            Conflict: it is not `before` any more, or there is a fit for `after.learned`: the first one stays.
        """

    def fit(self, journal: Journal) -> bytes | None:
        """What a learner had learned at `journal.learned`; None: nothing was kept."""

    def history(self, count: int) -> list[Entry]:
        """The last changes of the journal, the latest first."""

    def put(self, item: Item, during: Journal) -> None:
        """Write an item, in place of the one of its id if there is one.

        Raises:
            Conflict: migration or phase are not what they are in `during`.
        """

    def describe(self, id: str, meta: Mapping[str, Any]) -> bool:
        """Replace what an item is filtered by; its version and vectors stay. False: there is none of this id."""

    def delete(self, id: str) -> bool:
        """Delete an item. False: there is none of this id."""

    def get(self, id: str) -> Item | None:
        """An item, whole."""

    def exchange(self, report: Report, count: int, lease: float, below: int | None = None) -> Turn:
        """Write what a worker hands in, and claim its next batch, in one step.

        A vector is written if the migration is still the report's and was not rolled back, and if the item has the
        version that it was extracted from and no new embedding. So it may come late, twice, or for a deleted item.

        Args:
            report: of the last batch.
            count: of items to claim, at most; none are while the migration does not run.
            lease: seconds for which they are this worker's, unless it is seen to be dead.
            below: a place; only items before it are claimed, and those that were written since the plan; None: all.

        Returns:
            What was written, and the next items by place, those written since the plan first.
        """

    def pending(self, count: int, after: Pending | None = None) -> list[Pending]:
        """The next items that are to be migrated, whoever has claimed them.

        An item that is pending and keeps its place from the first to the last call, each after the last item of the one
        before, is met exactly once, though others are written, migrated or deleted meanwhile, the last item too. No
        lock is held from one call to the next.

        Args:
            count: of items, at most.
            after: the last one met; None: from the first.

        Returns:
            Items by place, those at one place in an order of ids that the store keeps; none: there are no more.
        """

    def retry(self) -> int:
        """Make dead letters pending again; how many."""

    def beat(self, name: str, figures: Mapping[str, float]) -> None:
        """Leave figures of a process under its name."""

    def beats(self, since: float) -> dict[str, Mapping[str, float]]:
        """Figures of each process that left some in the last seconds, by name."""

    def counts(self) -> Counts:
        """How many items there are in each state."""

    def without_old(self, count: int) -> list[Work]:
        """Some items that have no old embedding."""

    def sample(self, count: int) -> list[Item]:
        """Some items with a new embedding, whole."""

    def misplaced(self, count: int, rows: int | None = None) -> list[str]:
        """Ids of items that a generation neither has a vector of nor notes as lacking one, or both: there are none.

        Args:
            count: of ids, at most.
            rows: how many items it looks at, from a random one on; None: all.
        """

    def scan(self, column: Column) -> Iterator[tuple[list[str], np.ndarray]]:
        """Ids and vectors (N, D) of the part that is searched by a column, some at a time."""

    def failures(self, count: int) -> list[Item]:
        """Some dead letters, whole."""

    def claims(self) -> dict[str, tuple[int, float]]:
        """Items that each worker has claimed, and in how many seconds its lease ends, below 0 once it has; by name."""

    def gallery(self, new: bool = False, old: bool = True) -> StoredGallery:
        """All items with an old embedding, with or without their embeddings."""

    def place(self, ids: Sequence[str], before: Journal, after: Journal) -> None:
        """Begin a migration: set the order of these items, of all others it is open, and replace the journal.

        Users write meanwhile; only the replacement of the journal keeps them waiting.

        Raises:
            Conflict: the journal is not `before`; then nothing has changed.
        """

    def fill(self, column: Column, rows: Iterable[tuple[str, int, np.ndarray]], during: Journal) -> int:
        """Write vectors to items of these ids and versions, whatever they have in this column; how many.

        Raises:
            Conflict: the migration, or what was learned on its way, is not what it is in `during`; so what was made for
                an earlier one comes too late.
        """

    def search(
        self, asks: Sequence[Ask], k: int, where: Where | None = None, during: Journal | None = None
    ) -> list[Candidates]:
        """The k nearest items of each part that is asked for; what is no longer in one part is in the other.

        Args:
            asks: the parts, with the queries for each.
            k: how many items of each part.
            where: field -> value that items must have.
            during: the journal that the queries were made for; None: any.

        Raises:
            InputError: a field that is not among the journal's.
            Conflict: the journal serves in another way than `during`.
        """

    def warm(self, columns: Sequence[Column]) -> None:
        """Load what a search of these parts needs in memory, and wait until its indexes are built."""

    def revert(self, before: Journal, after: Journal) -> None:
        """Replace the journal by one under which no item has a new embedding.

        Raises:
            Conflict: the journal is not `before`, or an item has no old embedding.
        """

    def drop_old(self, before: Journal, after: Journal) -> None:
        """Replace the journal by one under which no item has an old embedding.

        Raises:
            Conflict: the journal is not `before`, or an item has no new embedding.
        """

    def advance(self, before: Journal, after: Journal) -> None:
        """Replace the journal of a finalized migration by one under which its new embeddings are the old ones.

        Args:
            before: the journal as it was read.
            after: with `generation` of the migration that was finalized.

        Raises:
            Conflict: the journal is not `before`.
        """

    def sweep(self, rows: int = 1000) -> bool:
        """Delete some vectors that no phase serves any more, at most so many rows; whether any are left.

        It may be called by anyone, at any time, and cut short.
        """

    def size(self) -> int:
        """Bytes on disk."""

    def close(self) -> None:
        """Let go of connections and memory."""


Change = Callable[[Journal], Journal]


def change_journal(store: Store, change: Change) -> Journal:
    """Change the journal, whoever else does so at the moment.

    Args:
        store: the store.
        change: from the journal to what it becomes; called again if another was faster.
    """
    while True:
        before = store.journal()
        after = change(before)
        try:
            store.amend(before, after)
        except Conflict:
            continue
        return after
