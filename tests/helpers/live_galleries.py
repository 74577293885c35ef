"""A small gallery in two spaces, a store of it, and its models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compat.live import Item, Journal, Models, Rows, Searcher, Store, open_store

OLD, NEW, ITEMS, QUERIES = 5, 7, 40, 6


def matrices() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Contents of the items, then of the queries, with their old and new embeddings."""
    chance = np.random.default_rng(0)
    contents = [f"item {n}" for n in range(ITEMS)] + [f"query {n}" for n in range(QUERIES)]
    old, new = (chance.normal(size=(len(contents), dim)).astype(np.float32) for dim in (OLD, NEW))
    return contents, old, new


def models(**options: Any) -> Models:
    """Both models of the gallery; they do not know any other content."""
    contents, old, new = matrices()
    given = {"new": Rows(contents, new), "old": Rows(contents, old)} | options
    return Models(**given)


def items() -> list[Item]:
    """The gallery; every other item is red."""
    contents, old, _ = matrices()
    return [Item(f"i{n}", contents[n], {"red": n % 2 == 0, "size": n % 3}, old=old[n]) for n in range(ITEMS)]


def made(path: Path, **options: Any) -> Store:
    """The store of it, in a file that is not there yet."""
    store = open_store(f"sqlite:///{path}", **options)
    store.create(Journal(OLD, "cosine", ("red", "size")))
    store.add(items())
    return store


def rankings(store, its, k=ITEMS):
    found = Searcher(store, its).search_many([f"query {n}" for n in range(QUERIES)], k)
    return [[(hit.id, hit.distance) for hit in hits] for hits in found]


class Failing(Rows):
    """The new model, which cannot read some items."""

    def __init__(self, *bad: str) -> None:
        contents, _, new = matrices()
        super().__init__(contents, new)
        self.bad = set(bad)

    def __call__(self, contents):
        if self.bad & set(contents):
            raise OSError("image file is truncated")
        return super().__call__(contents)
