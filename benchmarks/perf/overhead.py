"""Compare the engine with a bare loop of extraction and one commit per batch, without any recovery."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from timm import create_model

from compat.live import Item, Journal, Migration, Models, open_store
from compat.live.models import Embed
from compat.models import Embedder

ITEMS = 5_000
DIM = 128
BATCH = 256
SIZE = 32  # pixels, side of the network's input
TRIES = 5


class Free:
    """A model without cost: a row of noise for a number."""

    version = "free"

    def __init__(self) -> None:
        self.rows = np.random.default_rng(0).normal(size=(ITEMS, DIM)).astype(np.float32)

    def __call__(self, contents: Sequence[str]) -> np.ndarray:
        return self.rows[[int(content) for content in contents]]


class Network(Free):
    """A ResNet-18 on small images."""

    version = "resnet18"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedder = Embedder(create_model("resnet18"), DIM).eval()
        self.embedder(torch.zeros(1, 3, SIZE, SIZE))

    def __call__(self, contents: Sequence[str]) -> np.ndarray:
        with torch.inference_mode():
            return self.embedder(torch.zeros(len(contents), 3, SIZE, SIZE)).numpy()


def overhead(folder: Path) -> dict[str, dict[str, float]]:
    """Return the seconds per item of both loops and their ratio, medians, with a free model and a small network."""
    return {model.version: compare(folder, model) for model in (Free(), Network())}


def compare(folder: Path, model: Embed) -> dict[str, float]:
    """Compare the loops on one model, in turn."""
    live, bare = [], []
    for _ in range(TRIES):
        live.append(engine(folder / "engine.db", model))
        bare.append(loop(folder / "bare.db", model))
    ratio = median(a / b for a, b in zip(live, bare, strict=True))
    return {"engine": median(live) / ITEMS, "bare loop": median(bare) / ITEMS, "ratio": ratio}


def engine(path: Path, model: Embed) -> float:
    """Time a migration."""
    path.unlink(missing_ok=True)
    store = open_store(f"sqlite:///{path}")
    store.create(Journal(DIM, "cosine"))
    store.add(Item(str(row), str(row), {}, old=np.ones(DIM, np.float32)) for row in range(ITEMS))
    migration = Migration(store, Models(model))
    migration.plan(batch=BATCH)
    started = time.perf_counter()
    migration.run()
    seconds = time.perf_counter() - started
    store.close()
    return seconds


def loop(path: Path, model: Embed) -> float:
    """Time the same work in a table of the same kind, in the same random order."""
    path.unlink(missing_ok=True)
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = FULL")
    base.execute("CREATE TABLE items (id TEXT NOT NULL UNIQUE, content TEXT NOT NULL, old BLOB, new BLOB)")
    base.execute("BEGIN")
    old = np.ones(DIM, np.float32).tobytes()
    base.executemany("INSERT INTO items VALUES (?, ?, ?, NULL)", ((str(row), str(row), old) for row in range(ITEMS)))
    base.execute("COMMIT")
    order = np.random.default_rng(0).permutation(ITEMS)
    started = time.perf_counter()
    for rows in np.array_split(order, range(BATCH, ITEMS, BATCH)):
        ids = [str(row) for row in rows]
        marks = ", ".join("?" * len(ids))
        found = base.execute(f"SELECT id, content FROM items WHERE id IN ({marks})", ids).fetchall()
        vectors = model([content for _, content in found])
        base.execute("BEGIN")
        done = ((vector.tobytes(), id) for (id, _), vector in zip(found, vectors, strict=True))
        base.executemany("UPDATE items SET new = ? WHERE id = ?", done)
        base.execute("COMMIT")
    seconds = time.perf_counter() - started
    base.close()
    return seconds
