"""Tables of SQLite and PostgreSQL, and the SQL common to both.

Embeddings of one model are a *generation*: `vectors_<g>` has the items with a vector, `lacking_<g>` those without
(pending, by place, or failed). Each item has a row in exactly one of them. `bridge_<m>` has the vectors searched in
place of the old embedding during migration m. The journal names the generations which serve, so plan, rollback and
finalize are one write of the journal; `sweep` deletes the others.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from collections.abc import Callable

import numpy as np

from compat import __version__
from compat.live.items import Column, Journal

SPARSE = 256  # draws for each row wanted
LAYOUT = 2  # version of the tables; version 1 had all vectors in `items`


def table_of(column: Column, journal: Journal) -> str | None:
    """Return the table of a column; None if there is none."""
    if column == "bridge":
        return None if journal.new_generation is None or journal.phase == "finalized" else f"bridge_{journal.migration}"
    generation = journal.old_generation if column == "old" else journal.new_generation
    return None if generation is None else f"vectors_{generation}"


def lacking_table(column: Column, journal: Journal) -> str | None:
    """Return the table of the items without a vector of a column; None if there is none."""
    found = None if column == "bridge" else table_of(column, journal)
    return None if found is None else found.replace("vectors", "lacking")


def select_items(journal: Journal) -> str:
    """Return a SELECT of whole items; `i` is the table of items."""
    joins, vectors = "", []
    for column in ("old", "bridge", "new"):
        name = table_of(column, journal)
        vectors.append(f"{column}_.vector" if name else "NULL")
        joins += f" LEFT JOIN {name} {column}_ ON {column}_.row = i.row" if name else ""
    name, failure = lacking_table("new", journal), "NULL"
    if name:
        joins, failure = f"{joins} LEFT JOIN {name} l ON l.row = i.row", "l.failure"
    return f"SELECT i.id, i.content, i.meta, i.version, {', '.join(vectors)}, {failure} FROM items i{joins}"


def select_gallery(journal: Journal, new: bool, old: bool) -> str | None:
    """Return a SELECT of id, version, place, old and new vector of items with an old one; None if there are none."""
    if (its := table_of("old", journal)) is None:
        return None
    name, place, vector, joins = table_of("new", journal), "-1", "NULL", ""
    if name:
        place, vector = "coalesce(n.place, l.place, -1)", "n.vector" if new else "NULL"
        joins = f" LEFT JOIN {name} n ON n.row = i.row"
        joins += f" LEFT JOIN {lacking_table('new', journal)} l ON l.row = i.row"
    return (
        f"SELECT i.id, i.version, {place}, {'o.vector' if old else 'NULL'}, {vector} FROM {its} o"
        f" JOIN items i ON i.row = o.row{joins} ORDER BY i.row"
    )


def select_misplaced(column: Column, journal: Journal, among: str = "items") -> str | None:
    """Return a SELECT of ids with a row in none or both of a generation's tables; None without the generation."""
    if (vectors := table_of(column, journal)) is None:
        return None
    return (
        f"SELECT i.id FROM {among} i LEFT JOIN {vectors} v ON v.row = i.row"
        f" LEFT JOIN {lacking_table(column, journal)} l ON l.row = i.row WHERE (v.row IS NULL) = (l.row IS NULL)"
    )


def items_table(last: int | None, rows: int | None) -> str:
    """Return the table of items, or a subquery of `rows` items from a random one on."""
    if rows is None:
        return "items"
    first = int(np.random.default_rng().integers(0, max((last or 0) - rows, 0), endpoint=True))
    return f"(SELECT row, id FROM items WHERE row >= {first} ORDER BY row LIMIT {int(rows)})"


def select_part(column: Column, journal: Journal) -> str | None:
    """Return a SELECT of row, id and vector of a searched part, whose table is `v`; None if there is none."""
    if (name := table_of(column, journal)) is None:
        return None
    select = f"SELECT v.row, i.id, v.vector FROM {name} v JOIN items i ON i.row = v.row"
    hidden = None if column == "new" else table_of("new", journal)
    unless = f"NOT EXISTS (SELECT 1 FROM {hidden} n WHERE n.row = v.row)" if hidden else "true"
    return f"{select} WHERE {unless}"


def live_tables(journal: Journal) -> set[str]:
    """Return the tables which a journal needs."""
    found = {table_of(column, journal) for column in ("old", "bridge", "new")}
    found |= {lacking_table(column, journal) for column in ("old", "new")}
    return {name for name in found if name}


def audit_row(before: Journal, after: Journal) -> tuple[float, str, str, str]:
    """Make a row of the audit log: time, user, package version, and changed fields as JSON."""
    was, now = before.record(), after.record()
    changes = {name: [was[name], now[name]] for name in now if was[name] != now[name]}
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user has no name
        user = str(os.getuid())
    who = f"{user}@{socket.gethostname()}:{os.getpid()}"
    return time.time(), who, __version__, json.dumps(changes, sort_keys=True)


def draw_rows(first: int, last: int, count: int, after: Callable[[int, int], list[int]]) -> list[int]:
    """Draw rows of a table at random, uniformly unless the table is nearly empty.

    Args:
        first: first row number.
        last: last row number.
        count: maximum number of rows.
        after: maps a row number and a limit to the rows from there on.
    """
    chance = np.random.default_rng()
    if last - first < SPARSE * count:
        rows = after(first, last + 1 - first)
        return chance.permutation(rows)[:count].tolist()
    found: dict[int, None] = {}
    nearest: list[int] = []
    for row in chance.integers(first, last, SPARSE * count, endpoint=True).tolist():
        nearest = after(row, 1)
        if nearest[0] == row:  # otherwise rows after gaps would be more likely
            found[row] = None
        if len(found) == count:
            break
    return list(found or dict.fromkeys(nearest))
