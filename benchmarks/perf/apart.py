"""Run steps in a process of their own with one thread, and measure its memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import faiss
import torch

CONTEXT = multiprocessing.get_context("spawn")
T = TypeVar("T")


def apart(step: Callable[..., T], *arguments: Any, meanwhile: Callable[[], None] | None = None) -> T:
    """Run a step in a process of its own, and return its result; meanwhile this process repeats something."""
    with CONTEXT.Pool(1) as pool:
        going = pool.apply_async(step, arguments)
        while meanwhile is not None and not going.ready():
            meanwhile()
        return going.get()


def peak() -> float:
    """Return this process's peak memory in MiB; getrusage would return a larger parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def one_thread() -> None:
    """Limit all libraries to one thread."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
