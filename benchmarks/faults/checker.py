"""Check answers and stores against a history: every item present throughout is found once, unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.faults.history import History, ItemState, States, Wrong
from benchmarks.faults.oracle import EXACT, ContentOracle


class Answer(NamedTuple):
    """A query and its answer.

    Attributes:
        began: time of the query.
        ended: time of the answer.
        query: its number.
        k: number of items asked for.
        where: the filter.
        hits: (id, distance, part, meta as JSON) in order.
    """

    began: int
    ended: int
    query: int
    k: int
    where: Mapping[str, Any]
    hits: Sequence[tuple[str, float, str, str]]


class Checker:
    """Follow the answers of one process, one after the other.

    Each has to match one state of the store: after a number of writes allowed by the times, not before that of an
    earlier answer, with every item in a possible part.

    Args:
        history: of the store.
        oracle: distances.
    """

    def __init__(self, history: History, oracle: ContentOracle) -> None:
        self.history, self.oracle, self.writes = history, oracle, 0
        self.migrated: dict[str, str] = {}

    def check(self, answer: Answer) -> list[Wrong]:
        """List the violations of an answer."""
        if found := shape(answer):
            return found
        window = self.history.window(answer.began, answer.ended)
        for writes in range(max(window.start, self.writes), window.stop):
            found = self.against(answer, writes)
            if not found:
                self.learn(answer, writes)
                return []
        return found or [Wrong("torn", f"query {answer.query} goes back behind an earlier answer")]

    def against(self, answer: Answer, writes: int) -> list[Wrong]:
        """List its violations, after this number of writes."""
        hits = {id: (distance, part, meta) for id, distance, part, meta in answer.hits}
        last = answer.hits[-1][1] if len(answer.hits) == answer.k else None
        found = []
        for id in self.history.states.keys() | hits.keys():
            states = self.history.possible(id, writes)
            if id in hits:
                if not any(s and self.fits(answer, id, s, *hits[id]) for s in states):
                    found.append(self.named(answer, id, states, hits[id], writes))
            elif not any(self.may_lack(answer, id, s, last) for s in states):
                kind = "acknowledged and gone" if id in self.history.acknowledged else "lost"
                found.append(Wrong(kind, f"{id} is missing in query {answer.query}, k {answer.k}"))
        return found

    def fits(self, answer: Answer, id: str, state: ItemState, distance: float, part: str, meta: str) -> bool:
        """Whether a hit is right for an item in this state."""
        if meta != state.meta or not matches(state, answer.where):
            return False
        legal = [name for name in self.parts(answer, id, state) if (name == "new") == (part == "new")]
        return any(abs(distance - self.oracle.distance(answer.query, state.content, p)) <= EXACT for p in legal)

    def may_lack(self, answer: Answer, id: str, state: ItemState | None, last: float | None) -> bool:
        """Whether an item in this state may be missing from an answer: absent, filtered, or too far."""
        if state is None or not matches(state, answer.where):
            return True
        if last is None:
            return False
        parts = self.parts(answer, id, state)
        return any(self.oracle.distance(answer.query, state.content, p) >= last - EXACT for p in parts)

    def parts(self, answer: Answer, id: str, state: ItemState) -> list[str]:
        """Name the possible parts of an item in this state: "before" a migration, its "old" part, its "new" part."""
        phases = self.history.phases
        found = []
        if answer.began <= phases.runs_by or answer.ended >= phases.back_from:
            found.append("before")
        if phases.runs_from <= answer.ended and answer.began <= phases.back_by:
            found.append("new")
            moved = state.born or self.migrated.get(id) == state.content
            if not moved:
                found.append("old")
        return found

    def named(self, answer: Answer, id: str, states: States, hit: tuple[float, str, str], writes: int) -> Wrong:
        """Describe the violation of a hit."""
        distance, part, _ = hit
        text = f"{id} at {distance:.7f} in the {part} part for query {answer.query}"
        if states == frozenset([None]):
            return Wrong("resurrected", text)
        contents = {s.content for s in states if s}
        if part == "old" and any(s and (s.born or self.migrated.get(id) == s.content) for s in states):
            return Wrong("unmigrated", text)
        before = {s.content for s in self.history.earlier(id, writes)} - contents
        if any(
            abs(distance - self.oracle.distance(answer.query, content, p)) <= EXACT
            for content in before
            for p in ("before", "old", "new")
        ):
            return Wrong("stale", text)
        return Wrong("torn", f"{text}, which no state of it gives")

    def learn(self, answer: Answer, writes: int) -> None:
        """Learn from a right answer: an observed state does not change back."""
        self.writes = writes
        for id, distance, part, meta in answer.hits:
            states = self.history.possible(id, writes)
            seen = frozenset(s for s in states if s and self.fits(answer, id, s, distance, part, meta))
            if seen != states:
                self.history.settle(id, writes, seen)
            if part == "new" and answer.ended < self.history.phases.back_from:
                self.migrated[id] = next(iter(seen)).content
        if not answer.where and answer.k > len(answer.hits):
            found = {hit[0] for hit in answer.hits}
            for id in self.history.states.keys() - found:
                self.history.settle(id, writes, frozenset([None]))


def shape(answer: Answer) -> list[Wrong]:
    """List the violations of an answer independent of the store's content."""
    ids = [hit[0] for hit in answer.hits]
    far = [hit[1] for hit in answer.hits]
    found = []
    if len(ids) > answer.k:
        found.append(Wrong("torn", f"query {answer.query} has {len(ids)} hits, asked for {answer.k}"))
    if len(set(ids)) < len(ids):
        found.append(Wrong("twice", f"query {answer.query} has an item twice"))
    if far != sorted(far):
        found.append(Wrong("torn", f"query {answer.query} is not in order"))
    return found


def matches(state: ItemState, where: Mapping[str, Any]) -> bool:
    """Whether a filter lets an item through."""
    return not where or all(json.loads(state.meta).get(name) == value for name, value in where.items())


def check_store(
    history: History, oracle: ContentOracle, items: Sequence[Mapping[str, Any]], complete: bool
) -> list[Wrong]:
    """List the violations of a store at rest.

    Args:
        history: its complete history.
        oracle: vectors.
        items: its content: id, content, meta, version, old, new.
        complete: whether every item has to be migrated.
    """
    found = list(history.wrong)
    held = {item["id"]: item for item in items}
    if len(held) < len(items):
        found.append(Wrong("twice", "an id is there twice"))
    for id in history.states.keys() | held.keys():
        states = history.possible(id, len(history.writes))
        if id not in held:
            if None not in states:
                kind = "acknowledged and gone" if id in history.acknowledged else "lost"
                found.append(Wrong(kind, f"{id} is not in the store"))
            continue
        item = held[id]
        fitting = [s for s in states if s and (s.content, s.meta) == (item["content"], item["meta"])]
        if not fitting:
            kind = "resurrected" if states == frozenset([None]) else "stale"
            found.append(Wrong(kind, f"{id} has content {item['content']!r} and {item['meta']}"))
        elif not any(s.version in (None, item["version"]) for s in fitting):
            found.append(Wrong("stale", f"{id} has version {item['version']}"))
        found += check_vectors(oracle, item, complete)
    return found


def check_vectors(oracle: ContentOracle, item: Mapping[str, Any], complete: bool) -> list[Wrong]:
    """Check an item's vectors against its content, and that it has one."""
    id, content = item["id"], item["content"]
    found = []
    for name, expected in (("old", oracle.old(content)), ("new", oracle.new(content))):
        if item[name] is not None and not np.array_equal(np.float32(item[name]), expected):
            found.append(Wrong("stale", f"{id}: the {name} embedding is not that of {content!r}"))
    if item["old"] is None and item["new"] is None:
        found.append(Wrong("lost", f"{id} has no embedding"))
    if complete and item["new"] is None:
        found.append(Wrong("lost", f"{id} is not migrated"))
    return found
