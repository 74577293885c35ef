"""What SQLite and PostgreSQL are asked in the same words."""

from __future__ import annotations

import numpy as np

from compat.live.items import Column

PENDING = "new IS NULL AND failure IS NULL"
WHOLE = "id, content, meta, version, old, bridge, new, failure"


def belongs(column: Column) -> str:
    """What holds for the items of the part that a column is searched for."""
    return "new IS NOT NULL" if column == "new" else f"new IS NULL AND {column} IS NOT NULL"


def drawn(first: int, last: int, count: int) -> list[int]:
    """Random row numbers from the first to the last, each once, at most so many."""
    span = last + 1 - first
    return (first + np.random.default_rng().choice(span, min(count, span), replace=False)).tolist()
