"""The floor of the approximate mode while items move from part to part, in any order, for near and for far queries."""

import numpy as np
import pytest
import torch

from benchmarks.perf.recall import CONDITIONS, recall
from compat.live.sqlite.index import SqliteIndex
from compat.live.store import Approximate
from compat.orders import Clusters, Density, OrderGiven, Random

ITEMS, DIM, K, FLOOR = 4000, 32, 10, 0.95
GROUPS, BATCH = 40, 400
POINTS = (0.2, 0.4, 0.7, 0.8)


def galleries(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Old and new vectors of items and after them of 50 queries, and the items' groups."""
    chance = np.random.default_rng(seed)
    group = chance.integers(0, GROUPS, ITEMS + 50)
    centres, noise = chance.normal(size=(GROUPS, DIM)), chance.normal(size=(len(group), DIM))
    turn = np.linalg.qr(chance.normal(size=(DIM, DIM)))[0]
    old, new = centres[group] + 0.7 * noise, (centres[group] + 0.35 * noise) @ turn
    return old.astype(np.float32), new.astype(np.float32), group[:ITEMS]


def order_of(name: str, old: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Items in the order in which they move."""
    if name == "groups in row order":
        return np.argsort(group, kind="stable")
    order = {"Random": Random, "Density": Density, "Clusters": Clusters}[name]()
    values = {"old gallery": torch.from_numpy(old)}
    given = OrderGiven(order.needs, values, name, items=len(old), progress=np.array([0, 1.0]))
    return order.orders(given, [(0,)])[0]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)


def share(found: np.ndarray, apart: np.ndarray) -> float:
    """Of the nearest items the share that was found; what is as near as the last of them counts."""
    last = np.sort(apart, axis=1)[:, K - 1, None] + 1e-9
    return float((np.take_along_axis(apart, found, 1) <= last).mean())


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("name", ["Random", "Clusters", "Density", "groups in row order"])
def test_each_part_and_both_together_hold_the_floor(name, gap, monkeypatch):
    monkeypatch.setattr("compat.live.sqlite.lists.FEWEST", 200)  # else it looks at nearly all of so few
    old, new, group = galleries()
    order = order_of(name, old[:ITEMS], group)
    chance = np.random.default_rng(1)
    apart, queries, parts = [], [], []
    for rows in (old, new):
        away = chance.normal(size=DIM)
        away *= gap * np.linalg.norm(rows, axis=1).mean() / np.linalg.norm(away)
        asked = (rows[ITEMS:] + away).astype(np.float32)
        queries.append(asked)
        apart.append(1 - unit(asked) @ unit(rows[:ITEMS]).T)
        parts.append(
            SqliteIndex(np.empty(0, np.int64), np.empty((0, DIM), np.float32), "cosine", Approximate(400, FLOOR))
        )
    parts[0].add(np.arange(ITEMS), old[:ITEMS])
    done = 0
    for point in POINTS:
        while done < point * ITEMS:
            some = order[done : done + BATCH]
            parts[0].hide(some)
            parts[1].add(some, new[some])
            for part in parts:
                part.update_lists()
                part.wait()
            done += BATCH
        masked = [np.where(np.isin(np.arange(ITEMS), order[done:]) == (n == 0), apart[n], 9) for n in (0, 1)]
        found = [part.search(asked, K) for part, asked in zip(parts, queries, strict=True)]
        assert not any(part.exact for part in parts)
        shares = [share(its, far) for its, far in zip(found, masked, strict=True)]
        both = np.minimum(*masked)
        at = np.concatenate(found, 1)
        best = np.take_along_axis(at, np.argsort(np.take_along_axis(both, at, 1), axis=1)[:, :K], 1)
        assert min(*shares, share(best, both)) >= FLOOR, (point, shares)


@pytest.mark.slow
def test_the_benchmark_finds_nearly_all_in_each_condition(tmp_path):
    for number, condition in enumerate(CONDITIONS):
        (tmp_path / str(number)).mkdir()
        found = recall(tmp_path / str(number), 1000, 8, condition)
        assert min(map(min, found.values())) >= FLOOR, condition
