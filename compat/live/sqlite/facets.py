"""Filters of queries: rows by field and value, cached in memory and kept up to date with the file."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

KEPT = 64  # (field, value) pairs cached
WITH = "SELECT row FROM facets WHERE field = ? AND value = ?"
WITHOUT = "SELECT row FROM (SELECT row FROM items EXCEPT SELECT row FROM facets WHERE field = ?)"
SINCE = "SELECT DISTINCT row FROM changes WHERE seq > ? AND part = 'facets'"


class Facets:
    """A cache of boolean arrays over row numbers, by field and value."""

    def __init__(self) -> None:
        self.kept: OrderedDict[tuple[str, Any], tuple[int, np.ndarray]] = OrderedDict()

    def rows(self, cursor: sqlite3.Cursor, where: Mapping[str, Any]) -> np.ndarray:
        """Return which rows (R,) have all of these values in the cursor's state; the value None means no such field."""
        end = cursor.execute("SELECT coalesce(max(row), -1) + 1 FROM items").fetchone()[0]
        found = np.ones(end, bool)
        for field, value in where.items():
            found &= self._one(cursor, field, value, end)
        return found

    def _one(self, cursor: sqlite3.Cursor, field: str, value: Any, end: int) -> np.ndarray:
        seq, first = cursor.execute("SELECT coalesce(max(seq), 0), coalesce(min(seq), 0) FROM changes").fetchone()
        key = field, value
        known, rows = self.kept.pop(key, (-1, np.zeros(0, bool)))
        select, bound = (WITHOUT, (field,)) if value is None else (WITH, (field, value))
        if known < first - 1 or known > seq:
            rows = np.zeros(end, bool)
            rows[select_rows(cursor, select, bound)] = True
        elif known < seq:
            rows = np.pad(rows, (0, max(end - len(rows), 0)))
            changed = select_rows(cursor, SINCE, (known,))
            rows[changed[changed < len(rows)]] = False
            still = select_rows(
                cursor, f"{select} {'AND' if value is not None else 'WHERE'} row IN ({SINCE})", (*bound, known)
            )
            rows[still] = True
        self.kept[key] = seq, rows
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return rows[:end]


def select_rows(cursor: sqlite3.Cursor, select: str, bound: tuple[Any, ...]) -> np.ndarray:
    """Return the row numbers (N,) of a SELECT."""
    return np.array(cursor.execute(select, bound).fetchall(), np.int64).reshape(-1)
