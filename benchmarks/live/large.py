"""A migration of a large gallery: its speed, its size, and what queries take beside it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from benchmarks.live import synthetic
from compat.errors import InputError
from compat.live import Journal, Migration, Searcher, open_store
from compat.live.control import throttle

CONTEXT = multiprocessing.get_context("spawn")
DIM = 128
BATCH = 256
ASKED = 2000  # queries timed
CALM = 2  # times the slowest query in a hundred that one may take beside a backfill that makes way, over one alone


def measure(items: int, folder: Path) -> dict[str, Any]:
    """All figures of one gallery."""
    one_thread()
    url = f"sqlite:///{folder / 'gallery.db'}"
    synthetic.make(folder, items, DIM)
    store, models = open_store(url), synthetic.models(folder)
    seconds: dict[str, float] = {}
    with timed(seconds, "init"):
        store.create(Journal(DIM, "cosine"))
        store.add(synthetic.items(folder, items))
    start = store.size()
    with timed(seconds, "plan"):
        Migration(store, models).plan(batch=BATCH)
    memory = {"init and plan": peak()}
    seconds["run to 50 %"], _, memory["worker"] = apart(worked, url, folder, 0.5)
    largest = store.size()
    _, seconds["resume to its first batch"], _ = apart(worked, url, folder, 0.5 + BATCH / items)
    queries, memory["searcher"] = beside(url, folder, items)
    throttle(store)
    seconds["run from there to 100 %"], _, _ = apart(worked, url, folder, 1.0)
    sizes = {"start": start, "at 50 %": largest, "at 100 %": store.size()}
    return {
        "items": items,
        "dim": DIM,
        "seconds": seconds,
        "items_per_second": items / 2 / seconds["run to 50 %"],
        "queries": queries,
        "bytes": sizes,
        "peak_memory_mib": memory,
    }


def beside(url: str, folder: Path, items: int) -> tuple[dict[str, dict[str, float]], float]:
    """What queries take alone, beside a worker that goes as fast as it can, and beside one that makes way for them.

    Returns:
        Seconds by case, and MiB of the process that asks.
    """
    found = {"alone": asked(url, folder, items, lambda: True)}
    store = open_store(url)
    for case, latency in (("beside the backfill", None), ("beside one that makes way", CALM * found["alone"]["p99"])):
        throttle(store, latency=latency)
        done = store.counts().new
        worker = CONTEXT.Process(target=worked, args=(url, folder, 1.0), daemon=True)
        worker.start()
        while store.counts().new == done and worker.is_alive():
            time.sleep(0.1)
        started, done = time.perf_counter(), store.counts().new
        found[case] = asked(url, folder, items, worker.is_alive)
        gone = store.counts().new - done
        found[case]["items_per_second"] = gone / (time.perf_counter() - started)
        worker.kill()
        worker.join()
    return found, peak()


def asked(url: str, folder: Path, items: int, goes_on: Callable[[], bool]) -> dict[str, float]:
    """Seconds that queries take, each for its ten nearest, while something goes on; and the first, which loads all."""
    searcher = Searcher(open_store(url), synthetic.models(folder))
    took: list[float] = []
    while len(took) < ASKED and (not took or goes_on()):
        started = time.perf_counter()
        searcher.search(str(items + len(took) % synthetic.QUERIES))
        took.append(time.perf_counter() - started)
    if len(took) < 2:
        raise InputError(f"items: {items}, expected more, as the backfill ended before the queries began")
    p50, p99 = np.percentile(took[1:], [50, 99])
    return {"first": took[0], "p50": float(p50), "p99": float(p99), "queries": len(took) - 1}


def worked(url: str, folder: Path, until: float) -> tuple[float, float, float]:
    """Seconds of a run, seconds to its first batch, and MiB at the peak, of this process."""
    one_thread()
    started, first = time.perf_counter(), [0.0]

    def on_batch(items: int, written: int) -> None:
        first[0] = first[0] or time.perf_counter() - started

    Migration(open_store(url), synthetic.models(folder)).run(until, on_batch)
    return time.perf_counter() - started, first[0], peak()


def apart(step: Callable[..., tuple[float, float, float]], *arguments: Any) -> tuple[float, float, float]:
    """What a step returns in a process of its own."""
    with CONTEXT.Pool(1) as pool:
        return pool.apply(step, arguments)


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note the seconds of what is inside."""
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def peak() -> float:
    """MiB of this process at its peak; what getrusage says would be that of the one that started it, if it had more."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def one_thread() -> None:
    """For all libraries that take several."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
