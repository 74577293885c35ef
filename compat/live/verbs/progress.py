"""Progress of a run: a bar in a terminal, otherwise a line every few seconds; and its end by a signal."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from compat.live import control
from compat.live.store import Store
from compat.live.verbs.operating import status_line

EVERY = 5.0  # seconds between two lines
GLANCE = 0.5  # minimum seconds between two looks at the store
SHARE = 20  # minimum interval in durations of a look


@contextmanager
def show_progress(store: Store) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call after each batch, with its items and the number of vectors written.

    Progress is counted in the store, as other workers and users write too.
    """
    console = Console(file=sys.stderr)
    last, pause = 0.0, GLANCE
    if not console.is_terminal:

        def print_line(items: int, written: int) -> None:
            nonlocal last
            if time.monotonic() - last >= EVERY:
                last = time.monotonic()
                print(status_line(control.status(store)), flush=True)

        yield print_line
        return
    dead = TextColumn("{task.fields[dead]}")
    columns = BarColumn(), MofNCompleteColumn(), TaskProgressColumn(), TimeRemainingColumn(), dead
    with Progress(*columns, console=console) as bar:
        counts = store.counts()
        task = bar.add_task("", total=counts.total, completed=counts.new, dead="")

        def advance(items: int, written: int) -> None:
            nonlocal last, pause
            if time.monotonic() - last >= pause:
                began = time.monotonic()
                counts = store.counts()
                last = time.monotonic()
                pause = max(GLANCE, SHARE * (last - began))
                failed = f"{counts.failed:,} failed items" if counts.failed else ""
                bar.update(task, total=counts.total, completed=counts.new, dead=failed)
            else:
                bar.advance(task, written)

        yield advance
        counts = store.counts()
        bar.update(task, total=counts.total, completed=counts.new)


class Signals:
    """Handles signals: the first lets a worker end after its batch, the second ends the process."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop, self.number, self.before = stop, 0, {}  # type: ignore[var-annotated]

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.before[number] = signal.signal(number, self._came)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _came(self, number: int, _: Any) -> None:
        self.number = number
        self.stop()
        self.__exit__()
