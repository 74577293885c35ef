"""Kill a migration's worker and writer at random moments, again and again, while queries go on."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.faults.evidence import Ended, Evidence, answers, history_of, in_store, tally
from benchmarks.faults.history import ItemState, Wrong
from benchmarks.faults.oracle import ContentOracle
from benchmarks.faults.processes import Log, call, ended, fork, has_ended, kill, read
from benchmarks.faults.roles import LANGUAGES, Setting, ask, dumped, look, make, roll_back, work, write
from compat.live.open import open_store

SHARE = 0.37  # share of the gallery at the rollback
WRITTEN = 25  # times earlier, so some items have no old embedding
SHARES = {  # of a life, within which each is killed in a round of worker or rollback, which is done sooner
    "worker": {"worker": 1.0, "writer": 1.0},
    "rollback": {"rollback": 0.8, "writer": 5.0},
}


class Life(NamedTuple):
    """A process to be killed.

    Attributes:
        role: "worker", "writer" or "rollback".
        process: its id.
        path: of its log.
        until: time of the kill, in seconds.
    """

    role: str
    process: int
    path: Path
    until: float


class Round:
    """One migration, or rollback, from start to end.

    Args:
        setting: of it.
        chance: of the moments.
        settled: returns once the server has finished all work of dead processes.
        seed: of the writes.
    """

    def __init__(self, setting: Setting, chance: random.Random, settled: Callable[[int], None], seed: str) -> None:
        self.setting, self.chance, self.settled, self.seed = setting, chance, settled, seed
        self.over: list[Ended] = []
        self.number = 0
        self.shares = SHARES["worker"]

    def begin(self, role: str) -> Life:
        """Fork a process to be killed."""
        self.number += 1
        path = self.setting.folder / f"{self.number:04d}-{role}"
        seed = f"{self.seed}.{self.number}"

        def task() -> None:
            log = Log(path)
            if role == "writer":
                write(self.setting, log, seed)
            else:
                {"worker": work, "rollback": roll_back}[role](self.setting, log)

        process = fork(task, self.setting.errors)
        life = self.chance.random() * self.shares[role] * self.setting.life
        return Life(role, process, path, time.monotonic() + life)

    def end(self, life: Life, status: int) -> Ended:
        """Record the end of a process."""
        self.settled(life.process)
        over = Ended(life.role, status < 0, time.monotonic_ns(), list(read(life.path)))
        self.over.append(over)
        if status > 0 and self.setting.working is open_store:
            raise RuntimeError(self.setting.errors.read_text())
        return over

    def run(self, task: str) -> None:
        """Kill processes of this role and of the writer until the first of the role ends by itself."""
        self.shares = SHARES[task]
        writer = self.begin("writer")
        lives = {task: self.begin(task), "writer": writer}  # processes that may end by themselves come first
        while True:
            time.sleep(0.0005)
            for role, life in lives.items():
                status = has_ended(life.process)
                if status is None and time.monotonic() > life.until:
                    status = kill(life.process)
                if status is not None:
                    over = self.end(life, status)
                    if role == task and not over.killed:
                        self.end(lives["writer"], kill(lives["writer"].process))
                        return
                    lives[role] = self.begin(role)


def measured(
    setting: Setting, chance: random.Random, settled: Callable[[int], None], seed: str, back: bool = False
) -> Evidence:
    """Run a round, and list its violations."""
    versions = call(partial(make, setting), setting.errors)
    begun = setting.folder / "begun"
    if back:
        call(partial(work, setting, Log(begun), until=SHARE), setting.errors)
        call(partial(write, setting, Log(begun), f"{seed}.before", WRITTEN), setting.errors)
    path = setting.folder / "answers"
    asking = fork(lambda: ask(setting, Log(path)), setting.errors)
    round = Round(setting, chance, settled, seed)
    round.run("rollback" if back else "worker")
    os.kill(asking, signal.SIGTERM)
    status = ended(asking)
    lives = [Ended("before", False, 0, list(read(begun))), *round.over]
    history = history_of(initial(versions), lives)
    held = call(partial(look, setting, sorted(history.states)), setting.errors)
    wrong = in_store(history, held, not back, setting.forward)
    if back:
        wrong += [Wrong("stale", f"{i['id']} is migrated after the rollback") for i in held["items"] if i["new"]]
    counts, found = answers(history, ContentOracle(setting.queries, setting.forward), read(path))
    counts["query_processes_failed"] += status != 0
    return Evidence(counts + tally(lives, history), found, wrong)


def initial(versions: Mapping[str, int]) -> dict[str, ItemState]:
    """Return the gallery made by `make`."""
    return {id: ItemState(id, dumped({"lang": LANGUAGES[int(id[1:]) % 2]}), v) for id, v in versions.items()}
