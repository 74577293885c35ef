"""Measure the embedded store's searches: recall in five conditions, memory, the first query.

    python -m benchmarks.perf.searching -o results/live_searching.json

Embeddings are looked up, as in `benchmarks.perf.live`. Everything runs with one thread, a searcher in its own process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.artifacts.record import provenance
from benchmarks.perf import synthetic
from benchmarks.perf.apart import apart, one_thread, peak
from benchmarks.perf.recall import ASKED, CONDITIONS, FLOOR, POINTS, SHARE, recall
from compat.command import command_parser, exit_on_input_error
from compat.files import replace
from compat.live import Journal, Migration, Searcher, open_store

SIZES = ((20_000, 64), (100_000, 128))
ITEMS, DIM = 1_000_000, 128
LATER = 500  # queries timed after the first


def main() -> None:
    """Command line of `python -m benchmarks.perf.searching`."""
    parser = command_parser("benchmarks.perf.searching", __doc__)
    parser.add_argument("-o", "--output", required=True, help="JSON file of the report")
    with exit_on_input_error():
        own = parser.parse_args()
        one_thread()
        report: dict[str, Any] = {"progress": POINTS, "floor": FLOOR, "approximate_above_share": SHARE}
        report |= {"queries": ASKED, "recall": [recalls(items, dim) for items, dim in SIZES]}
        with TemporaryDirectory() as folder:
            report["searcher"] = searcher(Path(folder))
        report |= provenance()
        replace(Path(own.output), lambda file: file.write_text(json.dumps(report, indent=1) + "\n"))
        print(json.dumps(report, indent=1))


def recalls(items: int, dim: int) -> dict[str, Any]:
    """Measure the recall in each condition."""
    found = {}
    for condition in CONDITIONS:
        with TemporaryDirectory() as folder:
            found[condition] = recall(Path(folder), items, dim, condition)
    return {"items": items, "dim": dim, "conditions": found}


def searcher(folder: Path) -> dict[str, float]:
    """Measure memory and seconds of a process searching a large gallery in the middle of a migration."""
    synthetic.make(folder, ITEMS, DIM)
    store = open_store(f"sqlite:///{folder / 'gallery.db'}")
    store.create(Journal(DIM, "cosine"))
    store.add(synthetic.items(folder, ITEMS))
    migration = Migration(store, synthetic.models(folder))
    migration.plan()
    migration.run(0.5)
    store.close()
    cold, warm = (apart(asked, folder, first) for first in (False, True))
    raw = ITEMS * DIM * 4 / 2**20
    return {"items": ITEMS, "dim": DIM, "raw_mib": raw, "first_cold": cold["first"], "first_warm": warm["first"]} | {
        name: warm[name] for name in ("peak_mib", "warm", "p50", "p99")
    }


def asked(folder: Path, warm: bool) -> dict[str, float]:
    """Return a searcher's peak MiB above its initial memory, and the seconds of its steps."""
    one_thread()
    searcher = Searcher(open_store(f"sqlite:///{folder / 'gallery.db'}"), synthetic.models(folder))
    before, contents = peak(), iter(range(ITEMS, ITEMS + synthetic.QUERIES))
    found = {"warm": timed(lambda: searcher.warm([str(next(contents))]))} if warm else {}
    found["first"] = timed(lambda: searcher.search(str(next(contents))))
    if warm:
        later = [timed(lambda: searcher.search(str(next(contents)))) for _ in range(LATER)]
        found |= {"p50": float(np.percentile(later, 50)), "p99": float(np.percentile(later, 99))}
    return found | {"peak_mib": peak() - before}


def timed(step: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
