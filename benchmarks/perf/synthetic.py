"""A large gallery of clustered vectors in a folder, and models looking them up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from compat.arrays import read_npy
from compat.live import Item, Models

SPREAD = 0.7  # standard deviation within a cluster, over the one of the centres
PER_CLUSTER = 500
QUERIES = 1000


def make(folder: Path, items: int, dim: int, seed: int = 0, *, in_rows: bool = False, gap: float = 0.0) -> None:
    """Write old and new embeddings of items, followed by queries, as memory-mapped files.

    The new space is the old one, rotated, with less noise: the same clusters, closer together.

    Args:
        folder: of the files.
        items: number of items.
        dim: of both.
        seed: of all random numbers.
        in_rows: whether items are sorted by cluster.
        gap: distance of queries from the gallery, over the root mean square length of its vectors.
    """
    chance = np.random.default_rng(seed)
    total, clusters = items + QUERIES, max(items // PER_CLUSTER, 1)
    centres = chance.normal(size=(clusters, dim)).astype(np.float32)
    turn = np.linalg.qr(chance.normal(size=(dim, dim)))[0].astype(np.float32)
    old, new = (
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (total, dim)) for name in ("old", "new")
    )
    cluster = chance.integers(0, clusters, total)
    if in_rows:
        cluster[:items].sort()
    away = chance.normal(size=dim)
    away *= gap * (dim * (1 + SPREAD**2)) ** 0.5 / np.linalg.norm(away)
    for start in range(0, total, 2**16):
        rows = slice(start, min(start + 2**16, total))
        centre = centres[cluster[rows]]
        noise = SPREAD * chance.normal(size=centre.shape).astype(np.float32)
        old[rows] = centre + noise
        new[rows] = (centre + noise / 2) @ turn
    old[items:] += away
    new[items:] += away @ turn


class LookUp:
    """A stand-in for a model: contents are row numbers.

    Args:
        path: of the matrix.
    """

    def __init__(self, path: Path) -> None:
        self.rows = read_npy("rows", path, mapped=True)
        self.version = path.stem

    def __call__(self, contents: Sequence[str]) -> np.ndarray:
        return self.rows[[int(content) for content in contents]]


def models(folder: Path) -> Models:
    """Return both models, and independent systems."""
    return Models(LookUp(folder / "new.npy"), LookUp(folder / "old.npy"))


def items(folder: Path, count: int) -> Iterator[Item]:
    """Return the gallery."""
    old = read_npy("old", folder / "old.npy", mapped=True)
    return (Item(f"item-{row}", str(row), {}, old=old[row]) for row in range(count))
