"""A migration whose vectors come from files, and another engine that makes them."""

from __future__ import annotations

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Item, Journal, Migration, Models, Rows, open_store

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")

ITEMS, OLD, NEW = 40, 3, 5
NAMES = [f"item {n}" for n in range(ITEMS)] + ["later"]
DRAWN = np.random.default_rng(0)
OLDS, NEWS = (DRAWN.normal(size=(len(NAMES), dim)).astype(np.float32) for dim in (OLD, NEW))


def models(**changes) -> Models:
    return Models(**{"new": Rows(NAMES, NEWS), "old": Rows(NAMES, OLDS), **changes})


def made(folder, name="gallery", its=None, **plan) -> Migration:
    """A store whose migration is planned."""
    store = open_store(f"sqlite:///{folder / name}.db")
    store.create(Journal(OLD, "cosine", ("even",)))
    store.add(Item(NAMES[n], NAMES[n], {"even": n % 2 == 0}, n + 1, OLDS[n]) for n in range(ITEMS))
    migration = Migration(store, its or models())
    migration.plan(**{"batch": 7, **plan})
    return migration


def extracted(path, unreadable=(), vectors=NEWS):
    """What any engine makes of a manifest."""
    table = pq.read_table(path)
    contents = table["content"].to_pylist()
    rows = [None if c in unreadable else vectors[NAMES.index(c)].tolist() for c in contents]
    why = [f"{c} is torn" if c in unreadable else None for c in contents]
    return (
        table.select(["id", "version", "migration"])
        .append_column("vector", pa.array(rows, pa.list_(pa.float32())))
        .append_column("failure", pa.array(why, pa.string()))
    )


def state(store) -> list[tuple]:
    """All that a store knows of each item, but for what it is found by meanwhile."""
    items = [store.get(name) for name in NAMES]
    known = [
        (
            i.id,
            i.content,
            dict(i.meta),
            i.version,
            i.failure,
            *(None if v is None else v.tolist() for v in (i.old, i.new)),
        )
        for i in items
        if i is not None
    ]
    return sorted(known, key=lambda row: row[0])


def told(step) -> str:
    """Why it was refused, if it was."""
    try:
        step()
    except InputError as error:
        return str(error)
    return ""


def column(table, name, values):
    return table.set_column(table.schema.names.index(name), name, values)
