"""Losses of power: rebuild the disk from SQLite's operations, without unsynced data, and check the store."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import compat.live.sqlite.file
from benchmarks.faults import lines
from benchmarks.faults.disk import Disk
from benchmarks.faults.evidence import Ended, Evidence, answers, history_of, in_store, tally
from benchmarks.faults.history import NEVER, ItemState, Wrong
from benchmarks.faults.lines import Story, recovered
from benchmarks.faults.moments import initial
from benchmarks.faults.oracle import ContentOracle
from benchmarks.faults.places import Place
from benchmarks.faults.processes import Log, call, ended, fork, read
from benchmarks.faults.recorder import Event, Recorder
from benchmarks.faults.recorder import read as read_events
from benchmarks.faults.roles import Setting, ask, make, work, write
from compat.live.open import open_store

RECORDINGS = 2  # of each story
ENDS = 5  # of so many losses one comes once all was acknowledged
WRITES = 60  # beside a worker
SLOWNESS = 0.004  # seconds per batch of this worker, to last as long as the writer
PAGES = 16  # pages in the write-ahead log before a checkpoint, so losses happen during checkpoints too
CROWD = Story((lines.planned,), lines.whole, lines.whole, complete=True)
STORIES = {"worker, writer and queries at once": CROWD, **lines.STORIES}
CONTROLS = ("OFF", "NORMAL")  # `synchronous` of engines losing acknowledged writes


class Recording(NamedTuple):
    """The record of a store and its files.

    Attributes:
        items: its items.
        files: of the store, by name, at the start.
        events: of the files.
        lives: of the processes.
        answers: events of the querying process.
    """

    items: Mapping[str, ItemState]
    files: Mapping[str, bytes]
    events: Sequence[Event]
    lives: Sequence[Ended]
    answers: Sequence[Mapping[str, Any]]


def path_of(setting: Setting) -> Path:
    """Return the store's path."""
    return Path(setting.url.removeprefix("sqlite:///"))


def files_of(setting: Setting) -> dict[str, bytes]:
    """Return the store's files, except SQLite's shared memory."""
    path = path_of(setting)
    found = path.parent.glob(f"{path.name}*")
    return {file.name: file.read_bytes() for file in found if not file.name.endswith("-shm")}


def began(story: Story, setting: Setting) -> dict[str, int]:
    """Run the preparation of a story; return the version of each item."""
    versions, log, store = make(setting, planned=False), Log(setting.folder / "log"), open_store(setting.url)
    for step in story.before:
        step(setting, store, log)
    return versions


def watched(setting: Setting, synchronous: str, task: Callable[[], object]) -> int:
    """Start a process recording its file operations; FULL is the engine's own setting."""

    def told() -> None:
        Recorder(setting.folder / "recording", path_of(setting))
        connect_otherwise(synchronous)
        task()

    return fork(told, setting.errors)


def connect_otherwise(synchronous: str) -> None:
    """Checkpoint the engine's log more often, in this process, and sync less if requested."""
    honest = compat.live.sqlite.file.connect

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        base = honest(*arguments, **options)
        if synchronous != "FULL":
            base.execute(f"PRAGMA synchronous = {synchronous}")
        if synchronous != "NORMAL":  # this one syncs at its end only
            base.execute(f"PRAGMA wal_autocheckpoint = {PAGES}")
        return base

    compat.live.sqlite.file.connect = connect


def recorded(story: Story, setting: Setting, seed: str, synchronous: str = "FULL") -> Recording:
    """Record a story to its end; for the crowd, a worker, a writer and queries at once."""
    versions = call(partial(began, story, setting), setting.errors)
    files, log = files_of(setting), setting.folder / "log"
    names = {"engine": log, "writer": setting.folder / "writer", "asker": setting.folder / "asker"}
    if story is CROWD:
        asking = watched(setting, synchronous, lambda: ask(setting, Log(names["asker"])))
        writing = watched(setting, synchronous, lambda: write(setting, Log(names["writer"]), seed, WRITES))
        working = watched(setting, synchronous, lambda: work(setting, Log(log)))
        codes = [ended(working), ended(writing)]
        os.kill(asking, signal.SIGTERM)
        codes.append(ended(asking))
    else:
        codes = [ended(watched(setting, synchronous, partial(acted, story, setting, log)))]
    if any(codes):
        raise RuntimeError(setting.errors.read_text())
    events = list(read_events(setting.folder / "recording"))
    now, seen = files_of(setting), Disk(files).run(events).whole()
    if wrong := [name for name in seen if now.get(name) != seen[name]]:
        raise RuntimeError(f"the recording of {', '.join(wrong)} is not whole")
    lives = [Ended(role, True, NEVER, list(read(path))) for role, path in names.items() if role != "asker"]
    return Recording(initial(versions), files, events, lives, list(read(names["asker"])))


def acted(story: Story, setting: Setting, path: Path) -> None:
    """Run a story, and record its final phase."""
    store, log = open_store(setting.url), Log(path)
    story.act(setting, store, log)
    log.write(ends=store.journal().phase)


def until(events: Sequence[Mapping[str, Any]], now: int) -> list[Mapping[str, Any]]:
    """Select the events of a log by a time, without an unanswered query."""
    found = [event for event in events if event["at"] <= now]
    return found[:-1] if found and "asked" in found[-1] else found


def looked(story: Story, setting: Setting, ids: list[str]) -> tuple[str, list[dict[str, Any]]]:
    """Return the phase after the loss, and the store's content then and after the recovery.

    Raises:
        ValueError: it is damaged.
    """
    with closing(sqlite3.connect(path_of(setting))) as base:
        if (found := base.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
            raise ValueError(f"integrity_check: {' '.join(found[0][0].split())}")
    store = open_store(setting.url)
    phase = store.journal().phase
    store.close()
    return phase, recovered(story, setting, ids)


def lost(story: Story, recording: Recording, at: int, setting: Setting, chance: random.Random) -> Evidence:
    """Lose power after this many file changes, and list the violations."""
    for name, data in Disk(recording.files).run(recording.events[:at]).after(chance).items():
        (setting.folder / name).write_bytes(data)
    now = recording.events[at].at if at < len(recording.events) else NEVER
    lives = [life._replace(at=now, events=until(life.events, now)) for life in recording.lives]
    ids = sorted(history_of(recording.items, lives).states)
    counts = Counter(losses_of_power=1)
    try:
        phase, held = call(partial(looked, story, setting, ids), setting.errors)
    except RuntimeError as error:
        return Evidence(counts, [], [Wrong("torn", f"the store cannot be used: {str(error).strip().splitlines()[-1]}")])
    after = list(read(setting.folder / "answers"))
    lives = [*lives, Ended("recovery", False, NEVER, after)]
    history = history_of(recording.items, lives)
    wrong = in_store(history, held[0], False, setting.forward)
    wrong += in_store(history, held[1], story.complete, setting.forward)
    ends = [event["ends"] for life in lives for event in life.events if "ends" in event]
    wrong += [Wrong("acknowledged and gone", f"the store is {phase} again, was {end}") for end in ends if end != phase]
    asked = [*until(recording.answers, now), *after]
    found, missed = answers(history, ContentOracle(setting.queries, setting.forward), asked)
    done = {name: count for name, count in tally(lives, history).items() if not name.startswith("kills")}
    return Evidence(counts + found + Counter(done), missed, wrong)


def losses(place: Place, story: Story, count: int, seed: str, synchronous: str = "FULL") -> list[Evidence]:
    """Make a recording, and lose power this many times during it or at its end."""
    options = {**({"slowness": SLOWNESS} if story is CROWD else lines.SMALL), "forward": story.forward}
    chance = random.Random(seed)
    with place.setting(**options) as setting:
        recording = recorded(story, setting, seed, synchronous)
    found, last = [], len(recording.events)
    for number in range(count):
        at = last if number % ENDS == 0 else chance.randrange(last)
        with place.setting(**options) as setting:
            found.append(lost(story, recording, at, setting, chance))
    return found


def measured(place: Place, count: int, seed: int) -> dict[str, list[Evidence]]:
    """Lose power this many times, or slightly more, by story."""
    each = -(-count // (RECORDINGS * len(STORIES)))
    seeds = [f"{seed}.{number}" for number in range(RECORDINGS)]
    return {name: [one for s in seeds for one in losses(place, story, each, s)] for name, story in STORIES.items()}
