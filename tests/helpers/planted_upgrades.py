"""Upgrades of which it is known whether they are worth it: classes around centres, more or less blurred."""

from pathlib import Path
from typing import Any

import numpy as np

CLASSES, DIM = 8, 16


def upgrade(blur_old: float, blur_new: float, queries: int = 80, items: int = 240, seed: int = 0) -> dict[str, Any]:
    """The arrays of `benchmarks.replay`: the old space is turned, and each is blurred by noise of its own."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(CLASSES, DIM))
    turn = np.linalg.qr(random.normal(size=(DIM, DIM)))[0]
    arrays: dict[str, Any] = {}
    for part, count in (("query", queries), ("gallery", items)):
        labels = np.arange(count) % CLASSES
        shared = centres[labels] + 0.4 * random.normal(size=(count, DIM))
        old = (shared + blur_old * random.normal(size=shared.shape)) @ turn
        new = shared + blur_new * random.normal(size=shared.shape)
        arrays |= {f"{part}_old": old.astype(np.float32), f"{part}_new": new.astype(np.float32)}
        arrays[f"{part}_labels"] = labels
    return arrays


def save(folder: Path, arrays: dict[str, Any]) -> list[str]:
    """Write each array to a file; the options that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return [text for name in arrays for text in (f"--{name.replace('_', '-')}", str(folder / f"{name}.npy"))]
