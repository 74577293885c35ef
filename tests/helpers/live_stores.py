"""Items and stores by hand for tests of the contract, and what is done to a store behind its back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from compat.live.items import Item, Journal, Report
from compat.live.store import Store

OLD, NEW = 4, 3  # dimensions
FIELDS = ("lang", "year")
TEXT = '\'); DROP TABLE items; -- "%s" {} \\ ünï©ode 💣 \n'  # what SQL, JSON and formats could trip over


def vector(seed: int, dim: int = OLD) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=dim).astype(np.float32)


def new(seed: int) -> np.ndarray:
    return vector(seed + 1000, NEW)


def item(n: int, **changes: Any) -> Item:
    """Number n, of version n + 1, with an old embedding."""
    return Item(f"i{n}", f"c{n}", {"lang": "de" if n % 2 else "en"}, n + 1, old=vector(n))._replace(**changes)


def create(store: Any, distance: Any = "l2") -> Any:
    store.create(Journal(OLD, distance, FIELDS))
    return store


def turned(store: Store, **changes: Any) -> Journal:
    """Change the journal."""
    before = store.journal()
    after = replace(before, **changes)
    store.amend(before, after)
    return after


def planned(store: Store, ids: Sequence[str], **changes: Any) -> Journal:
    """Begin the next migration, in the order of these items."""
    before = store.journal()
    its: dict[str, Any] = {"migration": before.migration + 1, "phase": "planned", "new_dim": NEW} | changes
    store.place(ids, before, after := replace(before, **its))
    return after


def running(store: Any, items: int = 6, order: Sequence[int] | None = None) -> Any:
    """Fill an empty store, and let its first migration run; items are migrated in an order, by default that of ids."""
    store.add(item(n) for n in range(items))
    planned(store, [f"i{n}" for n in (range(items) if order is None else order)], items=items)
    turned(store, phase="running")
    return store


def report(*numbers: int, worker: str = "host:1:1", **changes: Any) -> Report:
    """These items as a worker hands them in, with the versions that `item` gives them."""
    done = [(f"i{n}", n + 1, new(n)) for n in numbers]
    return replace(Report(worker, 1, done), **changes)


def claim(store: Store, count: int, worker: str = "host:1:1", lease: float = 60.0, **others: Any) -> list[str]:
    """Ids of the next items for a worker that hands nothing in."""
    return [w.id for w in store.exchange(report(worker=worker), count, lease, **others).work]


def same(a: Item | None, b: Item | None) -> bool:
    """Whether they are, vectors included."""
    if a is None or b is None:
        return a is b
    one, other = ((v.tolist() if isinstance(v, np.ndarray) else v for v in its) for its in (a, b))
    return list(one) == list(other)


def everything(store: Store) -> list[Item]:
    """All items that have an old embedding, whole."""
    found = [store.get(id) for id in store.gallery().ids]
    return [i for i in found if i is not None]


LOSE = """INSERT INTO lacking_{0} SELECT row, -1, NULL FROM items WHERE id = '{1}';
DELETE FROM vectors_{0} WHERE row = (SELECT row FROM items WHERE id = '{1}')"""


def lose(path: Path, id: str, generation: int) -> None:
    """Take an item's embedding of a generation out of a file, behind the store's back."""
    with closing(sqlite3.connect(path)) as base:
        base.executescript(LOSE.format(generation, id))


def tamper_row(store: Any) -> None:
    """Write into the journal of a store in SQL what the engine did not."""
    with store.transaction() as cursor:
        cursor.execute("UPDATE journal SET content = replace(content, '\"none\"', '\"finalized\"')")


def tamper_point(store: Any) -> None:
    """The same in a store of points."""
    from compat.live.qdrant.connection import models
    from compat.live.qdrant.points import JOURNAL

    notes = store.journals.notes
    content = store.link("retrieve", notes, [JOURNAL])[0].payload["content"]
    wrong = {"content": content.replace('"none"', '"finalized"')}
    store.link("set_payload", notes, wrong, models.PointIdsList(points=[JOURNAL]))


def tamper_memory(store: Any) -> None:
    """The same in a store in memory."""
    content, digest = store.its.journal
    store.its.journal = content.replace('"none"', '"finalized"'), digest


class Adapter(NamedTuple):
    """What tests of the contract know of an adapter.

    Attributes:
        tamper: writes into a store's journal behind its back.
        near_duplicates: whether cosine distance tells them apart, as it does not where float32 products are compared.
    """

    tamper: Callable[[Any], None]
    near_duplicates: bool = True
