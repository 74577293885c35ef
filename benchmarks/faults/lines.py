"""Kill a small migration at every executed line of the engine, each time from the start."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import compat.live
from benchmarks.faults.evidence import Ended, Evidence, answers, history_of, in_store, tally
from benchmarks.faults.history import NEVER, ItemState
from benchmarks.faults.moments import initial
from benchmarks.faults.oracle import ContentOracle, models
from benchmarks.faults.processes import Log, call, ended, fork, read
from benchmarks.faults.roles import Setting, answer, look, make, one, plan, roll_back, work
from compat.live.items import UNDER_WAY
from compat.live.migration import Migration
from compat.live.open import open_store
from compat.live.searcher import Searcher
from compat.live.store import Store
from compat.live.writer import Writer

ENGINE = str(Path(compat.live.__file__).parent)
SMALL = {"items": 8, "batch": 3, "queries": ("q0", "q1")}
Step = Callable[[Setting, Store, Log], object]


def planned(setting: Setting, store: Store, log: Log) -> None:
    """Plan, unless already done."""
    if store.journal().phase not in UNDER_WAY:
        plan(setting, store)


def half(setting: Setting, store: Store, log: Log) -> None:
    """Run half of a migration."""
    work(setting, log, store, 0.5)


def whole(setting: Setting, store: Store, log: Log) -> None:
    """Run the rest of a migration."""
    work(setting, log, store)


def written(setting: Setting, store: Store, log: Log) -> None:
    """Write to items of each kind: migrated or not, deleted, new."""
    writer, chance = Writer(store, models(setting.forward)), random.Random(0)
    verbs = (
        "put i0",
        "put i1",
        "describe i2",
        "describe no",
        "delete i4",
        "delete i5",
        "put i4",
        "delete no",
        "put n0",
    )
    for number, (verb, id) in enumerate(words.split() for words in verbs):
        one(writer, log, verb, id, f"w{number}", chance)


def back(setting: Setting, store: Store, log: Log) -> None:
    """Roll back."""
    roll_back(setting, log, store)


def final(setting: Setting, store: Store, log: Log) -> None:
    """Verify and finalize, unless already done."""
    migration = Migration(store, models(setting.forward))
    if store.journal().phase != "finalized":
        migration.verify()
        migration.finalize()


def following(setting: Setting, store: Store, log: Log) -> None:
    """Plan the next migration, unless already done."""
    if store.journal().phase not in UNDER_WAY:
        plan(setting, store, "new", "next")


class Story(NamedTuple):
    """A scenario to kill.

    Attributes:
        before: preparation.
        act: the part killed at every line.
        after: recovery.
        complete: whether everything is migrated at the end.
        asked: whether queries are asked after the kill, and at the end.
        forward: whether the gallery is rewritten when the backfill starts.
    """

    before: tuple[Step, ...]
    act: Step
    after: Step
    complete: bool = False
    asked: bool = True
    forward: bool = False


STORIES = {
    "plan": Story((), planned, planned),
    "worker": Story((planned,), whole, whole, complete=True),
    "worker, gallery written anew": Story((planned,), whole, whole, complete=True, forward=True),
    "writer": Story((planned, half), written, whole, complete=True),
    "rollback": Story((planned, half, written), back, back),
    "finalize": Story((planned, half, written, whole), final, final),
    "next plan": Story((planned, half, written, whole, final), following, following, asked=False),
}


Stop = tuple[str, int]


class Tracer:
    """Count the executions of each line of the engine, and kill its process at one of them.

    Args:
        stop: a line, as "file:number", and the number of its execution, from 1; None: never.
    """

    def __init__(self, stop: Stop | None) -> None:
        self.stop, self.counts = stop, Counter[str]()

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        return self.line if frame.f_code.co_filename.startswith(ENGINE) else None

    def line(self, frame: FrameType, event: str, _: Any) -> Any:
        """Handle the execution of a line."""
        if event == "line":
            place = f"{frame.f_code.co_filename.removeprefix(ENGINE)}:{frame.f_lineno}"
            self.counts[place] += 1
            if (place, self.counts[place]) == self.stop:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.line


def tell(story: Story, setting: Setting, tracer: Tracer) -> None:
    """Run the preparation, and then the act under a tracer."""
    log = Log(setting.folder / "log")
    log.write(versions=make(setting, planned=False))
    store = open_store(setting.url)
    for step in story.before:
        step(setting, store, log)
    log.write(act=True)
    sys.settrace(tracer)
    story.act(setting, store, log)
    sys.settrace(None)


def counted(story: Story, setting: Setting) -> dict[str, int]:
    """Count the executions of each line of the engine in an act."""

    def told() -> dict[str, int]:
        tracer = Tracer(None)
        tell(story, setting, tracer)
        return dict(tracer.counts)

    found: dict[str, int] = call(told, setting.errors)
    return found


def recovered(story: Story, setting: Setting, ids: list[str]) -> list[dict[str, Any]]:
    """Return the store's content after the kill, and after the recovery."""
    log, store = Log(setting.folder / "answers"), open_store(setting.url)
    searcher = Searcher(store, models(setting.forward)) if story.asked else None
    held = []
    for step in (None, story.after):
        if step is not None:
            step(setting, store, log)
        held.append(look(setting, ids, store))
        if searcher is not None:
            for query in range(len(setting.queries)):
                answer(searcher, setting, log, 3 * query)
    store.close()
    return held


def kill_at(
    story: Story, setting: Setting, stop: Stop, settled: Callable[[int], None]
) -> tuple[dict[str, ItemState], Ended]:
    """Kill an act at a line, if it is reached this time; returns the gallery before, and the ended life."""
    process = fork(lambda: tell(story, setting, Tracer(stop)), setting.errors)
    if (status := ended(process)) > 0:
        raise RuntimeError(setting.errors.read_text())
    settled(process)
    versions, *events = read(setting.folder / "log")
    return initial(versions["versions"]), Ended("engine", status < 0, time.monotonic_ns(), events)


def killed(story: Story, settings: list[Setting], stops: list[Stop], settled: Callable[[int], None]) -> list[Evidence]:
    """Kill repeatedly, each time in a new store, recover, and list the violations."""
    dead = [kill_at(story, setting, stop, settled) for setting, stop in zip(settings, stops, strict=True)]
    ids = [sorted(history_of(items, [life]).states) for items, life in dead]
    held = call(lambda: [recovered(story, s, i) for s, i in zip(settings, ids, strict=True)], settings[0].errors)
    found = []
    for setting, (items, life), (first, last) in zip(settings, dead, held, strict=True):
        after = list(read(setting.folder / "answers"))
        lives = [life, Ended("recovery", False, NEVER, after)]
        history = history_of(items, lives)
        wrong = in_store(history, first, False, setting.forward)
        wrong += in_store(history, last, story.complete, setting.forward)
        counts, missed = answers(history, ContentOracle(setting.queries, setting.forward), after)
        found.append(Evidence(counts + tally(lives, history), missed, wrong))
    return found
