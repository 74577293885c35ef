"""Measure a migration of a large gallery: its speed, its size, and the latency of queries beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.perf import synthetic
from benchmarks.perf.apart import CONTEXT, apart, one_thread, peak
from benchmarks.perf.verbs import BATCH, beside_writes, of_a_whole_migration
from compat.errors import InputError
from compat.live import Journal, Migration, Searcher, open_store
from compat.live.control import throttle

DIM = 128
ASKED = 2000  # queries timed
CALM = 2  # allowed ratio of the 99 % latency beside a yielding backfill, over a query alone


def measure(items: int, folder: Path) -> dict[str, Any]:
    """Measure all figures of one gallery."""
    one_thread()
    path = folder / "gallery.db"
    url = f"sqlite:///{path}"
    synthetic.make(folder, items, DIM)
    store = open_store(url)
    seconds: dict[str, float] = {}
    memory: dict[str, float] = {}
    started = time.perf_counter()
    store.create(Journal(DIM, "cosine"))
    store.add(synthetic.items(folder, items))
    seconds["init"] = time.perf_counter() - started
    start = store.size()
    verbs = {"plan": beside_writes("plan", path, folder)}
    seconds["run to 50 %"], _, memory["worker"] = apart(worked, url, folder, 0.5)
    largest = store.size()
    _, seconds["resume to its first batch"], _ = apart(worked, url, folder, 0.5 + BATCH / items)
    queries, memory["searcher"] = beside(url, folder, items)
    throttle(store)
    seconds["run from there to 100 %"], _, _ = apart(worked, url, folder, 1.0)
    verbs |= of_a_whole_migration(path, folder)
    return {
        "items": items,
        "dim": DIM,
        "seconds": seconds,
        "items_per_second": items / 2 / seconds["run to 50 %"],
        "queries": queries,
        "verbs": {name: took._asdict() for name, took in verbs.items()},
        "bytes": {"start": start, "at 50 %": largest, "at 100 %": store.size()},
        "peak_memory_mib": memory,
    }


def beside(url: str, folder: Path, items: int) -> tuple[dict[str, dict[str, float]], float]:
    """Time queries alone, beside a worker at full speed, and beside one yielding to them.

    Returns:
        Seconds by case, and MiB of the querying process.
    """
    store, searcher = open_store(url), Searcher(open_store(url), synthetic.models(folder))
    started = time.perf_counter()
    searcher.search(str(items))
    first = time.perf_counter() - started
    searcher.warm()
    found = {"alone": {"first": first, **asked(searcher, items, lambda: True)}}
    for case, latency in (("beside the backfill", None), ("beside one that makes way", CALM * found["alone"]["p99"])):
        throttle(store, latency=latency)
        done = store.counts().new
        worker = CONTEXT.Process(target=worked, args=(url, folder, 1.0), daemon=True)
        worker.start()
        while store.counts().new == done and worker.is_alive():
            time.sleep(0.1)
        started, done = time.perf_counter(), store.counts().new
        found[case] = asked(searcher, items, worker.is_alive)
        gone = store.counts().new - done
        found[case]["items_per_second"] = gone / (time.perf_counter() - started)
        worker.kill()
        worker.join()
    return found, peak()


def asked(searcher: Searcher, items: int, goes_on: Callable[[], bool]) -> dict[str, float]:
    """Time queries for the ten nearest items, while something goes on."""
    took: list[float] = []
    while len(took) < ASKED and goes_on():
        started = time.perf_counter()
        searcher.search(str(items + len(took) % synthetic.QUERIES))
        took.append(time.perf_counter() - started)
    if len(took) < ASKED:
        raise InputError(f"items: {items}, expected more, as the backfill ended after {len(took)} queries of {ASKED}")
    p50, p99 = np.percentile(took, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "queries": len(took)}


def worked(url: str, folder: Path, until: float) -> tuple[float, float, float]:
    """Return the seconds of a run, the seconds to its first batch, and the peak MiB of this process."""
    one_thread()
    started, first = time.perf_counter(), [0.0]

    def on_batch(items: int, written: int) -> None:
        first[0] = first[0] or time.perf_counter() - started

    Migration(open_store(url), synthetic.models(folder)).run(until, on_batch)
    return time.perf_counter() - started, first[0], peak()
