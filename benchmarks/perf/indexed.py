"""Measure verbs on all items of an indexed store in PostgreSQL: the time of queries and users'
writes before and beside them.

    python -m benchmarks.perf.indexed --items 200000 --dim 64 -o results/live_postgres.json

A server is started for it, with room in memory for an index as it is made. Queries and writes come one after
another from one process, a verb from another.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.artifacts.record import provenance
from benchmarks.live.server import postgres
from benchmarks.perf import synthetic
from benchmarks.perf.apart import CONTEXT, one_thread
from benchmarks.perf.verbs import done
from compat.command import command_parser, exit_on_input_error
from compat.files import replace
from compat.live import Item, Journal, Migration, Searcher, Writer, open_store
from compat.live.invariants import measure_recall
from compat.live.postgres.store import PostgresStore
from compat.live.store import NEAREST

ASKED = 300  # queries, and writes, before a verb
LOOKED = 100  # queries for the recall
SETTINGS = {"shared_buffers": "1GB", "maintenance_work_mem": "1GB"}  # room for an index of the gallery


class Timed:
    """A store timing each write, without the models' time.

    Args:
        store: the store, for everything else.
    """

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.took: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def put(self, item: Item, during: Journal) -> None:
        started = time.perf_counter()
        try:
            self.store.put(item, during)
        finally:
            self.took.append(time.perf_counter() - started)


class User:
    """Ask a query and write an item, again and again, with the seconds of each.

    Args:
        store: the store.
        folder: of the models.
        items: of the gallery.
    """

    def __init__(self, store: PostgresStore, folder: Path, items: int) -> None:
        models = synthetic.models(folder)
        self.store, self.items = Timed(store), items
        self.searcher, self.writer = Searcher(store, models), Writer(self.store, models)
        self.queries: list[float] = []

    def step(self) -> None:
        """Run once."""
        number = len(self.queries)
        self.queries.append(seconds(lambda: self.searcher.search(str(self.items + number % synthetic.QUERIES))))
        content = str(number % self.items)
        self.writer.put(f"item-{content}", content)

    def told(self) -> dict[str, float]:
        """Return the milliseconds since the last call."""
        queries, writes = np.array(self.queries) * 1000, np.array(self.store.took) * 1000
        self.queries, self.store.took = [], []
        found = {"query p50": np.median(queries), "query p99": np.percentile(queries, 99)}
        found |= {"write p50": np.median(writes), "longest write": writes.max(), "steps": len(queries)}
        return {name: round(float(value), 2) for name, value in found.items()}


def seconds(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def measure(url: str, items: int, dim: int, folder: Path) -> dict[str, Any]:
    """Measure all figures of one gallery."""
    one_thread()
    synthetic.make(folder, items, dim)
    store = PostgresStore(url)
    store.create(Journal(dim, "cosine"))
    took = {"init": seconds(lambda: store.add(synthetic.items(folder, items)))}
    took["index"] = seconds(lambda: store.keeper.keep(["old"]))
    store.keeper.last_start = float("inf")  # seen to below, when it is of use to compare
    user = User(store, folder, items)
    cases: dict[str, dict[str, float]] = {}
    found: dict[str, float] = {}

    def alone(name: str) -> None:
        user.step()
        user.told()
        for _ in range(ASKED):
            user.step()
        cases[name] = user.told()

    def look(name: str) -> None:
        contents = [str(items + n) for n in range(LOOKED)]
        found[name] = round(measure_recall(store, synthetic.models(folder), contents, NEAREST), 4)

    def beside(name: str, verb: str) -> None:
        with CONTEXT.Pool(1) as pool:
            pool.apply(one_thread)  # its imports are done
            going = pool.apply_async(done, (verb, url, folder))
            while not going.ready():
                user.step()
            cases[name] = {"seconds": round(going.get()[0], 2), **user.told()}

    alone("before plan")
    look("0 %")
    beside("plan", "plan")
    alone("planned")
    took["run to 50 %"] = seconds(partial(Migration(open_store(url), synthetic.models(folder)).run, 0.5))
    took["index of new"] = seconds(lambda: store.keeper.keep(["old", "new"]))
    alone("at 50 %")
    look("50 %")
    beside("rollback", "rollback")
    alone("rolled back")
    beside("plan again", "plan")
    took["run to 100 %"] = seconds(Migration(open_store(url), synthetic.models(folder)).run)
    took["index of new again"] = seconds(lambda: store.keeper.keep(["old", "new"]))
    Migration(store, synthetic.models(folder)).verify()
    alone("migrated")
    beside("finalize", "finalize")
    alone("finalized")
    look("100 %")
    took = {name: round(s, 2) for name, s in took.items()}
    return {"items": items, "dim": dim, "seconds": took, "cases": cases, "recall_at_10": found}


def main() -> None:
    """Command line of `python -m benchmarks.perf.indexed`."""
    parser = command_parser("benchmarks.perf.indexed", __doc__)
    parser.add_argument("--items", type=int, default=200_000, help="size of the gallery (default 200,000)")
    parser.add_argument("--dim", type=int, default=64, help="dimension of the embeddings (default 64)")
    parser.add_argument("-o", "--output", required=True, help="JSON file of the report")
    own = parser.parse_args()
    with exit_on_input_error(), TemporaryDirectory() as folder, postgres(**SETTINGS) as server:
        report = measure(server.url, own.items, own.dim, Path(folder)) | provenance()
        replace(Path(own.output), lambda file: file.write_text(json.dumps(report, indent=1) + "\n"))
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
