"""Engines broken on purpose: the checker has to reject each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.oracle import NEW
from compat.live.items import Candidates, Report, Turn
from compat.live.open import open_store
from compat.live.store import Ask, Store

BETWEEN = 0.004  # seconds between two steps of a transaction


def broken(url: str, **methods: Callable[..., Any]) -> Store:
    """Return the store with some methods replaced, each called with the original as `honest`."""
    store = open_store(url)
    kind: Any = type(store)
    wrapped = {name: partial(method, store, partial(getattr(kind, name), store)) for name, method in methods.items()}
    for name, method in wrapped.items():
        setattr(store, name, method)
    return store


def new_first(url: str) -> Store:
    """Search the new part first, then the old one, in two snapshots."""

    def search(store: Store, honest: Any, asks: Sequence[Ask], *rest: Any) -> list[Candidates]:
        found = []
        for ask in reversed(asks):
            found += honest([ask], *rest)
            time.sleep(BETWEEN)
        return found[::-1]

    return broken(url, search=search)


def unchecked(url: str) -> Store:
    """Write vectors regardless of changes to the item since their extraction."""

    def exchange(store: Store, honest: Any, report: Report, *rest: Any) -> Turn:
        for id, _, vector in report.done:
            if item := store.get(id):
                store.fill("new", [(id, item.version, vector)], store.journal())
        turn: Turn = honest(replace(report, done=()), *rest)
        return turn

    return broken(url, exchange=exchange)


def in_place(url: str, path: Path) -> Store:
    """Save vectors to a file too, in place, and trust the file when it is opened again."""
    path.touch()
    size = 4 * NEW

    def exchange(store: Store, honest: Any, report: Report, *rest: Any) -> Turn:
        with path.open("r+b") as file:
            for id, _, vector in report.done:
                file.seek(int(id[1:]) * size)
                content = np.asarray(vector, np.float32).tobytes()
                file.write(content[: size // 2])
                file.flush()
                time.sleep(BETWEEN)
                file.write(content[size // 2 :])
                file.flush()
        turn: Turn = honest(report, *rest)
        return turn

    store = broken(url, exchange=exchange)
    content = path.read_bytes()
    rows = np.frombuffer(content.ljust(-(-len(content) // size) * size, b"\0"), np.float32).reshape(-1, NEW)
    for number in np.flatnonzero(rows.any(1)).tolist():
        if item := store.get(f"i{number}"):
            store.fill("new", [(item.id, item.version, rows[number])], store.journal())
    return store


CONTROLS = ("new part first", "no version check", "saved in place")


def control(name: str, setting: Any) -> Any:
    """Break the setting."""
    if name == "new part first":
        return setting._replace(asking=new_first)
    if name == "no version check":
        return setting._replace(working=unchecked, slowness=0.05, batch=25, life=2.0)
    return setting._replace(working=partial(in_place, path=setting.folder / "vectors"))
