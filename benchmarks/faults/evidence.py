"""Read processes' logs into a history, and check answers and stores against it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.faults.checker import Answer, Checker, check_store
from benchmarks.faults.history import NEVER, History, ItemState, Phases, Write, Wrong
from benchmarks.faults.oracle import OLD, ContentOracle

CUT = ("zombie", "without room")  # roles ending with an undelivered batch


class Ended(NamedTuple):
    """The life of an ended process.

    Attributes:
        role: its task.
        killed: whether by SIGKILL.
        at: time after its last action.
        events: of its log.
    """

    role: str
    killed: bool
    at: int
    events: Sequence[Mapping[str, Any]]


class Evidence(NamedTuple):
    """Findings of a fault injection.

    Attributes:
        counts: of all actions and checks.
        answers: violations in answers.
        store: violations in the store.
    """

    counts: Counter[str]
    answers: list[Wrong]
    store: list[Wrong]


def history_of(items: Mapping[str, ItemState], lives: Iterable[Ended]) -> History:
    """Build the history written by dead processes; writers followed each other."""
    lives = list(lives)
    events = [event for life in lives for event in life.events]
    running, runs, back = ([e["at"] for e in events if name in e] for name in ("running", "runs", "back"))
    done = [e["at"] for e in events if e.get("phase") == "rolled_back"]
    phases = Phases(*(min(times, default=NEVER) for times in (running, runs, back, done)))
    found: list[Write] = []
    for life in lives:
        for event in life.events:
            if "verb" in event:
                meta = json.dumps(event.get("meta") or {}, sort_keys=True)
                found.append(Write(event["verb"], event["id"], event.get("content", ""), meta, event["at"], life.at))
            elif "returned" in event:
                found[-1] = found[-1]._replace(ended=event["at"], returned=event["returned"])
    return History(items, found, phases)


def answers(
    history: History, oracle: ContentOracle, events: Iterable[Mapping[str, Any]]
) -> tuple[Counter[str], list[Wrong]]:
    """List the violations in a process's answers."""
    checker, counts, wrong = Checker(history, oracle), Counter[str](), []
    for event in events:
        counts["queries"] += "asked" in event
        if "hits" in event:
            counts["answers"] += 1
            counts["hits_checked"] += len(event["hits"])
            its = (event[name] for name in ("query", "k", "where", "hits"))
            found = checker.check(Answer(event["began"], event["at"], *its))
            counts["answers_wrong"] += bool(found)
            wrong += found
    counts["unanswered"] = counts["queries"] - counts["answers"]
    return counts, wrong


def in_store(history: History, held: Mapping[str, Any], complete: bool, forward: bool = False) -> list[Wrong]:
    """List the violations in a store, as seen by `roles.look`, during or after the first migration."""
    oracle = ContentOracle((), forward) if held["dim"] == OLD else ContentOracle((), old="new", new="next")
    found = check_store(history, oracle, held["items"], complete)
    if held["total"] != len(held["items"]):
        found.append(Wrong("resurrected", f"{held['total']} items in the store, {len(held['items'])} known"))
    return found


def tally(lives: Iterable[Ended], history: History) -> Counter[str]:
    """Count kills, writes, and repeated work."""
    counts, seen = Counter[str](), Counter[str]()
    for life in lives:
        counts[f"kills_of_{life.role}"] += life.killed
        batches = [event["extracted"] for event in life.events if "extracted" in event]
        for contents in batches:
            seen.update(contents)
        if batches and (life.killed or life.role in CUT):
            counts["items_in_flight"] += len(batches[-1] if life.killed else max(batches, key=len))
    counts["writes"] = len(history.writes)
    counts["writes_acknowledged"] = sum(write.returned is not None for write in history.writes)
    counts["items_checked"] = len(history.states)
    counts["items_extracted"] = seen.total()
    counts["items_extracted_again"] = seen.total() - len(seen)
    return counts
