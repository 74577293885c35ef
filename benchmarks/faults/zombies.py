"""Workers stopped with a batch in hand (SIGSTOP), past their lease, and then continued."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from functools import partial
from typing import Any

from benchmarks.faults.checker import check_vectors
from benchmarks.faults.evidence import Ended, Evidence, history_of, in_store, tally
from benchmarks.faults.history import Wrong
from benchmarks.faults.moments import initial
from benchmarks.faults.oracle import ContentOracle, models
from benchmarks.faults.processes import Log, call, ended, fork, read
from benchmarks.faults.roles import Setting, look, make, plan, work, write
from compat.live.migration import Migration
from compat.live.open import open_store

LEASE = 0.02  # seconds
WRITES = 12


def again(setting: Setting, share: float) -> None:
    """Roll back, plan anew with another model, and migrate some items."""
    store = open_store(setting.url)
    Migration(store, models(setting.forward)).rollback()
    plan(setting, store, new="other")
    if share:
        Migration(store, models(setting.forward, new="other")).run(share)


def stopped(setting: Setting, stop: int) -> int:
    """Run a worker until it stops itself in the batch of this number."""
    path = setting.folder / "zombie"
    zombie = fork(lambda: work(setting, Log(path), stop=stop, lease=LEASE), setting.errors)
    if not os.WIFSTOPPED(os.waitpid(zombie, os.WUNTRACED)[1]):
        raise RuntimeError(setting.errors.read_text())
    return zombie


def gone_on(setting: Setting, zombie: int, ids: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the store before a stopped worker continues, and after its end."""
    before = call(partial(look, setting, ids), setting.errors)
    os.kill(zombie, signal.SIGCONT)
    ended(zombie)
    return before, call(partial(look, setting, ids), setting.errors)


def lease(setting: Setting, stop: int, seed: str, until: float) -> Evidence:
    """Let another worker take over the batch, while items are written; then continue the first."""
    versions = call(partial(make, setting), setting.errors)
    zombie = stopped(setting, stop)
    time.sleep(2 * LEASE)
    written, other = setting.folder / "writer", setting.folder / "other"
    call(lambda: write(setting, Log(written), seed, WRITES), setting.errors)
    call(lambda: work(setting, Log(other), until=until), setting.errors)
    call(lambda: write(setting, Log(written), seed + "b", WRITES), setting.errors)
    now = time.monotonic_ns()
    life = Ended("writer", False, now, list(read(written)))
    ids = sorted(history_of(initial(versions), [life]).states)
    before, after = gone_on(setting, zombie, ids)
    lives = [life, *(Ended(name, False, now, list(read(setting.folder / name))) for name in ("zombie", "other"))]
    history = history_of(initial(versions), lives)
    wrong = in_store(history, after, True, setting.forward)
    wrong += changed(before, after, migrated=True)
    return Evidence(Counter(zombies=1) + tally(lives, history), [], wrong)


def replanned(setting: Setting, stop: int, share: float) -> Evidence:
    """Roll its migration back, and plan another with another model; then continue it: it may write nothing."""
    versions = call(partial(make, setting), setting.errors)
    zombie = stopped(setting, stop)
    call(lambda: again(setting, share), setting.errors)
    before, after = gone_on(setting, zombie, sorted(versions))
    oracle = ContentOracle((), new="other")
    wrong = [wrong for item in after["items"] for wrong in check_vectors(oracle, item, False)]
    wrong += changed(before, after, migrated=False)
    return Evidence(Counter(zombies_of_another_migration=1, items_checked=len(versions)), [], wrong)


def changed(before: dict[str, Any], after: dict[str, Any], migrated: bool) -> list[Wrong]:
    """Return a zombie's changes to items it must not touch: the migrated ones, or all."""
    held = {item["id"]: item for item in after["items"]}
    return [
        Wrong("stale", f"{item['id']} was changed by a worker past its time")
        for item in before["items"]
        if held.get(item["id"]) != item and (item["new"] is not None or not migrated)
    ]
