"""What a driver reads and writes; it runs in the environment of a public tool, with numpy and nothing of this project.

    python DRIVER INPUT OUTPUT

INPUT holds `train_old.npy`, `train_new.npy`, `query_old.npy`, `query_new.npy`, `gallery_old.npy`, `gallery_new.npy`
(float32, rows of length 1), and `pair.json`. OUTPUT receives `driven.json`, and for each way what is searched before an
item's backfill: `<number>.query.npy`, `<number>.gallery.npy` or both, or `<number>.lists.npy` with ranked items.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

SINGLE = 200  # queries by which the time of a single one is measured
NAMES = ("train_old", "train_new", "query_old", "query_new", "gallery_old", "gallery_new")


class GivenMatrices:
    """The matrices of a pair of models.

    Attributes:
        train_old, train_new: (N, D_old) and (N, D_new) pairs to learn from.
        query_old, query_new, gallery_old, gallery_new: (Q, D) and (G, D).
        own: 1 if the queries are the gallery, in the same sequence, so that lists need one more item; else 0.
    """

    train_old: np.ndarray
    train_new: np.ndarray
    query_old: np.ndarray
    query_new: np.ndarray
    gallery_old: np.ndarray
    gallery_new: np.ndarray

    def __init__(self, folder: Path) -> None:
        for name in NAMES:
            setattr(self, name, np.load(folder / f"{name}.npy"))
        self.own = int(json.loads((folder / "pair.json").read_text())["queries_are_items"])

    def padded(self) -> GivenMatrices:
        """Return them with zeros appended, so that both models have the larger dimension."""
        width = max(self.train_old.shape[1], self.train_new.shape[1])
        found = GivenMatrices.__new__(GivenMatrices)
        found.own = self.own
        for name in NAMES:
            rows = getattr(self, name)
            setattr(found, name, np.pad(rows, ((0, 0), (0, width - rows.shape[1]))))
        return found


class Ways:
    """The ways of a tool to search, written one by one.

    Args:
        package: name of its distribution.
        folder: OUTPUT.
    """

    def __init__(self, package: str, folder: Path) -> None:
        self.package, self.folder = package, folder
        self.ways: list[dict[str, Any]] = []

    def add(self, name: str, fit: float, each: float, passes: str = "1", **arrays: np.ndarray) -> None:
        """Write a way.

        Args:
            name: of its row.
            fit: CPU seconds until it serves, a rewriting of the gallery included.
            each: CPU seconds of a query beside its encoding and the search.
            passes: encodings a query needs.
            arrays: `query` (Q, D) and `gallery` (G, D) in place of the old ones, or `lists` (T, Q, K), the ranked items
                (-1: none) at the completion ratios `ratios` (T,).
        """
        for kind, array in arrays.items():
            np.save(self.folder / f"{len(self.ways)}.{kind}.npy", array)
        way = {"name": name, "fit": fit, "query": each, "passes": passes, "memory_mib": largest_memory()}
        self.ways.append({**way, "arrays": sorted(arrays)})
        driven = {"version": version(self.package), "ways": self.ways}
        (self.folder / "driven.json").write_text(json.dumps(driven))


def largest_memory() -> float:
    """Return the largest memory of this process so far in MiB; `getrusage` would count that of the one it came from."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def start(package: str) -> tuple[GivenMatrices, Ways]:
    """Read INPUT, and return what writes to OUTPUT."""
    return GivenMatrices(Path(sys.argv[1])), Ways(package, Path(sys.argv[2]))


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a call and its CPU seconds."""
    started = time.process_time()
    return call(), time.process_time() - started


def single(call: Callable[[Any], Any], rows: Sequence[Any] | np.ndarray) -> float:
    """Return the CPU seconds of a call with one row, a mean over some."""
    some = [rows[place : place + 1] for place in range(min(len(rows), SINGLE))]
    _, seconds = timed(lambda: [call(row) for row in some])
    return seconds / len(some)
