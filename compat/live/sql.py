"""What SQLite and PostgreSQL are asked in the same words."""

from __future__ import annotations

from compat.live.items import Column

PENDING = "new IS NULL AND failure IS NULL"
WHOLE = "id, content, meta, version, old, bridge, new, failure"


def belongs(column: Column) -> str:
    """What holds for the items of the part that a column is searched for."""
    return "new IS NOT NULL" if column == "new" else f"new IS NULL AND {column} IS NOT NULL"
