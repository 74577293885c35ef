"""Derive the possible states of items at each moment, from a log of operations begun and acknowledged or not."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

NEVER = 2**63  # a time after all others


class ItemState(NamedTuple):
    """State of a present item.

    Attributes:
        content: its content.
        meta: as JSON.
        version: if it was acknowledged or read.
        born: whether it was written during the migration, and so never had to be migrated.
    """

    content: str
    meta: str
    version: int | None = None
    born: bool = False


class Write(NamedTuple):
    """An operation of the one writing process: acknowledged, or open if cut short by a kill.

    Attributes:
        verb: "put", "describe" or "delete".
        id: of the item.
        content: of a put.
        meta: of a put or describe.
        began: time of the call.
        ended: time of the return, or of the process's death.
        returned: version of a put, whether the item was present for others; None: it never returned.
    """

    verb: str
    id: str
    content: str
    meta: str
    began: int
    ended: int = NEVER
    returned: Any = None


class Phases(NamedTuple):
    """Start and rollback of the migration, each between two times.

    Attributes:
        runs_from: earliest possible start.
        runs_by: latest possible start.
        back_from: earliest possible start of a rollback.
        back_by: latest possible end of a rollback.
    """

    runs_from: int = 0
    runs_by: int = NEVER
    back_from: int = NEVER
    back_by: int = NEVER


States = frozenset[ItemState | None]


class Wrong(NamedTuple):
    """A broken promise.

    Attributes:
        kind: "lost", "acknowledged and gone", "resurrected", "stale", "twice", "torn" or "unmigrated".
        text: description.
    """

    kind: str
    text: str


class History:
    """The possible states of each item after each number of writes.

    Args:
        initial: the gallery before.
        writes: in calling order.
        phases: of the migration.
    """

    def __init__(self, initial: Mapping[str, ItemState], writes: Iterable[Write], phases: Phases) -> None:
        self.phases, self.writes, self.wrong = phases, list(writes), list[Wrong]()
        self.at: dict[str, list[int]] = defaultdict(lambda: [0])
        self.states: dict[str, list[States]] = defaultdict(lambda: [frozenset([None])])
        self.acknowledged: set[str] = set()
        for id, state in initial.items():
            self.at[id], self.states[id] = [0], [frozenset([state])]
        for number, write in enumerate(self.writes, 1):
            self.states[write.id].append(self.following(write, self.states[write.id][-1]))
            self.at[write.id].append(number)
            if write.returned is not None:
                self.acknowledged.add(write.id)
        self.began, self.ended = [w.began for w in self.writes], [w.ended for w in self.writes]

    def following(self, write: Write, states: States) -> States:
        """Return the states after a write, from those before; record impossible return values."""
        if write.verb == "put":
            born = write.began >= self.phases.runs_by and write.ended <= self.phases.back_from
            after: States = frozenset([ItemState(write.content, write.meta, write.returned, born)])
        elif write.verb == "describe":
            after = frozenset(s and s._replace(meta=write.meta) for s in states)
        else:
            after = frozenset([None])
        if write.returned is None:
            return states | after
        if write.verb == "put":
            return after
        fitting = frozenset(s for s in states if (s is not None) == write.returned)
        if not fitting:
            kind = "resurrected" if write.returned else "acknowledged and gone"
            self.wrong.append(Wrong(kind, f"{write.verb} {write.id} returned {write.returned}"))
            return after
        if not write.returned:
            return frozenset([None])
        return after - {None} if write.verb == "describe" else after

    def window(self, began: int, ended: int) -> range:
        """Return the possible numbers of effective writes at a moment in this interval."""
        return range(bisect_right(self.ended, began), bisect_right(self.began, ended) + 1)

    def possible(self, id: str, writes: int) -> States:
        """Return the states of an item after this number of writes."""
        return self.states[id][bisect_right(self.at[id], writes) - 1]

    def settle(self, id: str, writes: int, states: States) -> None:
        """Settle a write left open by a kill, as its effect has been seen."""
        self.states[id][bisect_right(self.at[id], writes) - 1] = states

    def earlier(self, id: str, writes: int) -> list[ItemState]:
        """Return the former states of an item."""
        return [s for states in self.states[id][: bisect_right(self.at[id], writes)] for s in states if s]
