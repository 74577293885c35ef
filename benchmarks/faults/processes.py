"""Fork processes from a warm one, so kills are cheap; and read their logs."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # of Linux: a child dies with its parent


class Log:
    """Lines of JSON with the time; lines written before a kill are complete.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, **event: Any) -> int:
        """Write an event; returns its time, in nanoseconds, of a clock shared by all processes."""
        now = time.monotonic_ns()
        os.write(self.file, (json.dumps({"at": now, **event}) + "\n").encode())
        return now


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Read the events in the order of writing."""
    if path.is_file():
        for line in path.read_text().splitlines():
            yield json.loads(line)


def fork(task: Callable[[], object], errors: Path) -> int:
    """Run a task in a child; returns its process id. Errors are appended to a file, and give the exit status 1.

    Before it this process must open no store and start no thread.
    """
    gc.freeze()
    parent = os.getpid()
    if child := os.fork():
        return child
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    status = 1
    try:
        os.environ["PGAPPNAME"] = application(os.getpid())
        task()
        status = 0
    except BaseException:
        with errors.open("a") as file:
            file.write(traceback.format_exc())
    finally:
        os._exit(status)


def application(process: int) -> str:
    """Return a child's name for a server."""
    return f"faults {process}"


def call(task: Callable[[], Any], errors: Path) -> Any:
    """Run a task in a child and return its result: the only way for this process to look at a store.

    Raises:
        RuntimeError: it failed, with its traceback.
    """
    reading, writing = os.pipe()

    def told() -> None:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump(task(), pipe)

    child = fork(told, errors)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        content = pipe.read()
    if ended(child) != 0:
        raise RuntimeError(errors.read_text() if errors.is_file() else f"process {child} was killed")
    return json.loads(content)


def ended(child: int) -> int:
    """Wait for a child; returns its exit status, or minus the signal ending it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def has_ended(child: int) -> int | None:
    """Return its exit status if it ended, without waiting."""
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def kill(child: int) -> int:
    """Send SIGKILL; returns the exit status, another one if it was faster."""
    os.kill(child, signal.SIGKILL)
    return ended(child)
