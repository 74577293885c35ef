"""Run out of room in the middle of a migration: the worker tries again, ends, and resumes later."""

from __future__ import annotations

import resource
from collections import Counter
from functools import partial

import compat.live.extraction
from benchmarks.faults.evidence import Ended, Evidence, answers, history_of, in_store, tally
from benchmarks.faults.history import NEVER, Wrong
from benchmarks.faults.moments import initial
from benchmarks.faults.oracle import ContentOracle, models
from benchmarks.faults.processes import Log, call, ended, fork, read
from benchmarks.faults.roles import Setting, answer, look, make, work
from compat.errors import InputError
from compat.live.open import open_store
from compat.live.searcher import Searcher


def limited(setting: Setting, log: Log, room: int) -> None:
    """Migrate with a limit on file sizes; return the reason of a worker giving up."""
    compat.live.extraction.FIRST_WAIT = 0.001
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    try:
        work(setting, log)
    except InputError as error:
        log.write(gave_up=str(error))


def queried(setting: Setting, log: Log) -> None:
    """Ask each query once, for all items."""
    searcher = Searcher(open_store(setting.url), models(setting.forward))
    for query in range(len(setting.queries)):
        answer(searcher, setting, log, 3 * query)


def measured(setting: Setting, room: int) -> Evidence:
    """Run a migration out of room, and check it."""
    versions = call(partial(make, setting), setting.errors)
    paths = [setting.folder / name for name in ("limited", "answers", "rest")]
    ended(fork(lambda: limited(setting, Log(paths[0]), room), setting.errors))
    ids = sorted(versions)
    between = call(partial(look, setting, ids), setting.errors)
    call(lambda: queried(setting, Log(paths[1])), setting.errors)
    call(lambda: work(setting, Log(paths[2])), setting.errors)
    after = call(partial(look, setting, ids), setting.errors)
    roles = ("without room", "queries", "worker")
    lives = [Ended(role, False, NEVER, list(read(path))) for role, path in zip(roles, paths, strict=True)]
    history = history_of(initial(versions), lives)
    wrong = in_store(history, between, False) + in_store(history, after, True)
    gave_up = [event["gave_up"] for event in lives[0].events if "gave_up" in event]
    wrong += [Wrong("torn", f"gave up in more than a line: {text}") for text in gave_up if "\n" in text]
    migrated = sum(item["new"] is not None for item in between["items"])
    counts, found = answers(history, ContentOracle(setting.queries), lives[1].events)
    figures = Counter(runs=1, gave_up=len(gave_up), migrated_when_full=migrated)
    return Evidence(counts + figures + tally(lives, history), found, wrong)
