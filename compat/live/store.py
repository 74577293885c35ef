"""The contract of a store; every adapter passes its test suite."""

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
    Report,
    StoredGallery,
    Turn,
    Work,
)

Capability = Literal["compare and set", "snapshot", "many workers"]
Where = Mapping[str, Any]


class Conflict(Exception):
    """The journal has changed since a write was prepared; the caller reads it again."""


NEAREST = 10  # number of nearest items for measuring recall
GROWTH = 2  # factor of growth or shrinkage after which an index is rebuilt


class Approximate(NamedTuple):
    """When a part is searched approximately, and the target recall.

    Attributes:
        above: number of items above which search is approximate.
        recall: target for the mean share of the 10 nearest items found. It is measured with vectors of the part when
            its index is built; in SQLite and PostgreSQL also with late vectors whenever a tenth of the part has
            changed, in SQLite with recent real queries too. The index is tuned to lose half of the allowance.
    """

    above: int = 50_000
    recall: float = 0.95


DEFAULT = Approximate()


class Ask(NamedTuple):
    """Queries (Q, D) for the part searched by a column.

    Items with a new embedding belong to the part of "new", all others to the part of "old" and "bridge".
    """

    column: Column
    queries: np.ndarray


class Store(Protocol):
    """A store of items with up to three embeddings each.

    Every method is one atomic step, or can be repeated safely after an interruption.

    Attributes:
        capabilities: "compare and set": a vector is written only to the version from which it was extracted (required
            by migrations); "snapshot": both parts are searched in one state of the store (without it, the part which
            items leave is searched first); "many workers": several processes can claim batches.
    """

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    def create(self, journal: Journal) -> None:
        """Create the store, empty.

        Raises:
            InputError: there is one already.
        """

    def add(self, items: Iterable[Item]) -> int:
        """Add items with their old embeddings, all or none.

        Returns:
            The number of items.

        Raises:
            InputError: an id which exists or comes twice; an embedding of another dimension or with NaN; a migration is
                running or finalized (then use a `Writer`).
        """

    def journal(self) -> Journal:
        """Read the journal.

        Raises:
            InputError: no store here; the journal was tampered with.
        """

    def amend(self, before: Journal, after: Journal, fit: bytes | None = None) -> None:
        """Replace the journal.

        Args:
            before: the journal as it was read.
            after: the journal to write.
            fit: fit of an online method, kept for `after.learned` until the next migration.

        Raises:
            Conflict: the journal is no longer `before`, or there is a fit for `after.learned` already, which stays.
        """

    def fit(self, journal: Journal) -> bytes | None:
        """Return the fit of an online method at `journal.learned`; None if there is none."""

    def history(self, count: int) -> list[Entry]:
        """Return the last changes of the journal, latest first."""

    def put(self, item: Item, during: Journal) -> None:
        """Write an item, replacing one of the same id.

        Raises:
            Conflict: migration or phase differ from `during`.
        """

    def describe(self, id: str, meta: Mapping[str, Any]) -> bool:
        """Replace the meta of an item; its version and vectors stay. False if there is no such item."""

    def delete(self, id: str) -> bool:
        """Delete an item. False if there is no such item."""

    def get(self, id: str) -> Item | None:
        """Return an item, whole."""

    def exchange(self, report: Report, count: int, lease: float, below: int | None = None) -> Turn:
        """Write a worker's report and claim its next batch, in one step.

        A vector is written if its migration is still under way, and if the item has the version from which it was
        extracted and no new embedding. So reports may come late, twice, or for deleted items.

        Args:
            report: report of the last batch.
            count: maximum number of items to claim; none are claimed unless the migration is running.
            lease: seconds for which the claim holds, unless the worker is known to be dead.
            below: claim only items before this place, and those written since the plan; None: all.

        Returns:
            The number of vectors written, and the next items by place, those written since the plan first.
        """

    def pending(self, count: int, after: Work | None = None) -> list[Work]:
        """Return the next pending items, whoever has claimed them.

        Paging is stable: an item which stays pending at the same place is returned exactly once, whatever happens to
        other items between calls (including the last one returned). No lock is held between calls.

        Args:
            count: maximum number of items.
            after: last item of the previous page; None: start.

        Returns:
            Items by place, and at one place in the store's order of ids; empty at the end.
        """

    def retry(self) -> int:
        """Make failed items pending again, and return their number."""

    def beat(self, name: str, figures: Mapping[str, float]) -> None:
        """Write figures of a process under its name (a heartbeat)."""

    def beats(self, since: float) -> dict[str, Mapping[str, float]]:
        """Return the figures of processes with a heartbeat in the last `since` seconds, by name."""

    def counts(self) -> Counts:
        """Count the items in each state."""

    def without_old(self, count: int) -> list[Work]:
        """Return some items without an old embedding."""

    def sample(self, count: int) -> list[Item]:
        """Return some random items with a new embedding, whole."""

    def misplaced(self, count: int, rows: int | None = None) -> list[str]:
        """Return ids of items recorded in none or both of a generation's tables; a sound store has none.

        Args:
            count: maximum number of ids.
            rows: number of items to look at, from a random one on; None: all.
        """

    def scan(self, column: Column) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield ids and vectors (N, D) of the part searched by a column, chunk by chunk."""

    def failures(self, count: int) -> list[Item]:
        """Return some failed items, whole."""

    def claims(self) -> dict[str, tuple[int, float]]:
        """Return each worker's number of claimed items and seconds until its lease ends (negative once it has)."""

    def gallery(self, new: bool = False, old: bool = True) -> StoredGallery:
        """Return all items with an old embedding, with or without their embeddings."""

    def place(self, ids: Sequence[str], before: Journal, after: Journal) -> None:
        """Begin a migration: set the order of these items (all others have none) and replace the journal.

        Users can write meanwhile; only the replacement of the journal blocks them.

        Raises:
            Conflict: the journal is not `before`; nothing has changed.
        """

    def fill(self, column: Column, rows: Iterable[tuple[str, int, np.ndarray]], during: Journal) -> int:
        """Write vectors to a column for items of these ids and versions, replacing existing ones.

        Returns:
            The number of vectors written.

        Raises:
            Conflict: the migration or the fit differ from `during`, so vectors made for an earlier one are refused.
        """

    def search(
        self, asks: Sequence[Ask], k: int, where: Where | None = None, during: Journal | None = None
    ) -> list[Candidates]:
        """Return the k nearest items of each part; an item which leaves one part meanwhile is found in the other.

        Args:
            asks: queries for each part.
            k: number of items per part.
            where: field -> value which items must have.
            during: journal for which the queries were made; None: any.

        Raises:
            InputError: a field which is not among the journal's.
            Conflict: the serving plan differs from that of `during`.
        """

    def warm(self, columns: Sequence[Column]) -> None:
        """Load the data a search of these parts needs, and wait until its indexes are built."""

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
        """Replace the journal of a finalized migration by one whose old embeddings are its new ones.

        Args:
            before: the journal as it was read.
            after: the journal to write, with the `generation` of the finalized migration.

        Raises:
            Conflict: the journal is not `before`.
        """

    def sweep(self, rows: int = 1000) -> bool:
        """Delete at most `rows` rows of vectors which no phase serves, and return whether any are left.

        Any process may call it at any time, and it may be cut short.
        """

    def size(self) -> int:
        """Return the size on disk in bytes."""

    def close(self) -> None:
        """Release connections and memory."""


Change = Callable[[Journal], Journal]


def change_journal(store: Store, change: Change) -> Journal:
    """Change the journal, retrying on concurrent changes.

    Args:
        store: the store.
        change: maps the journal to the new one; called again after a conflict.

    Returns:
        The new journal.
    """
    while True:
        before = store.journal()
        after = change(before)
        try:
            store.amend(before, after)
        except Conflict:
            continue
        return after


def __getattr__(name: str) -> Any:
    """Find `open_store` under its earlier path, too; it imports the adapters, which import this module."""
    if name == "open_store":
        from compat.live.open import open_store

        return open_store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
