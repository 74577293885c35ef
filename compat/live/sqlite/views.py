"""What the embedded store has in memory: a part for each column that is searched, which follows the file."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import numpy as np

from compat.live.items import Column, Found, Journal
from compat.live.sql import belongs
from compat.live.sqlite.file import stacked
from compat.live.sqlite.parts import Part
from compat.live.store import Approximate, Ask

AT_ONCE = 500  # values that are bound in one statement
MANY = 10_000  # changes beyond as many as the part has items, and it is loaded anew


class View:
    """A part, and the last change that it has taken up."""

    def __init__(self, part: Part, seq: int) -> None:
        self.part, self.seq = part, seq


class Views:
    """Parts by column. A part that outgrew its index is built anew by a thread, and takes its place when it is ready.

    Args:
        path: of the file.
        approximate: see `Part`.
    """

    def __init__(self, path: Path, approximate: Approximate) -> None:
        self.path, self.approximate = path, approximate
        self.views: dict[Column, View] = {}
        self.builders: dict[Column, threading.Thread] = {}
        self.built: dict[Column, View] = {}

    def found(self, cursor: sqlite3.Cursor, ask: Ask, k: int, allowed: np.ndarray | None, journal: Journal) -> Found:
        """The nearest items of a part, in the transaction of the cursor."""
        part = self.current(cursor, ask.column, journal).part
        nearest = part.search(ask.queries, k, allowed)
        rows, at = np.unique(nearest[nearest >= 0], return_inverse=True)
        places = np.full(nearest.shape, -1)
        places[nearest >= 0] = at
        known: dict[int, tuple[str, str, bytes]] = {}
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE].tolist()
            marks = ", ".join("?" * len(some))
            select = f"SELECT row, id, meta, {ask.column} FROM items WHERE row IN ({marks})"
            known |= {row: rest for row, *rest in cursor.execute(select, some)}
        kept = [known[row] for row in rows.tolist()]
        ids = [id for id, *_ in kept]
        vectors = stacked(ids, [vector for *_, vector in kept], journal.dim_of(ask.column))
        return Found(ids, [json.loads(meta) for _, meta, _ in kept], vectors, places)

    def current(self, cursor: sqlite3.Cursor, column: Column, journal: Journal) -> View:
        """The part as it is in the state of the file that the cursor sees."""
        if column in self.builders and not self.builders[column].is_alive():
            built = self.built.get(column, self.views[column])
            if built.seq <= last(cursor):  # else it knows what is not in this state yet
                del self.builders[column]
                self.views[column] = self.built.pop(column, built)
        view = self.views.get(column)
        if view is None or view.part.dim != journal.dim_of(column) or not follow(cursor, column, view):
            view = self.views[column] = load(cursor, column, journal, self.approximate)
        if view.part.outgrown and column not in self.builders:
            thread = threading.Thread(target=self._build, args=(column, journal), daemon=True)
            self.builders[column] = thread
            thread.start()
        return view

    def _build(self, column: Column, journal: Journal) -> None:
        base = sqlite3.connect(self.path, isolation_level=None)
        try:
            base.execute("BEGIN")
            self.built[column] = load(base.cursor(), column, journal, self.approximate)
        finally:
            base.close()

    def close(self) -> None:
        """Wait for what is being built, and forget all."""
        for thread in self.builders.values():
            thread.join()
        self.views, self.builders, self.built = {}, {}, {}


def last(cursor: sqlite3.Cursor) -> int:
    """The last change of the file; no number comes twice."""
    return cursor.execute("SELECT coalesce(max(seq), 0) FROM changes").fetchone()[0]


def load(cursor: sqlite3.Cursor, column: Column, journal: Journal, approximate: Approximate) -> View:
    """A part from the whole file."""
    seq, dim = last(cursor), journal.dim_of(column)
    cursor.execute(f"SELECT row, id, {column} FROM items WHERE {belongs(column)}")
    numbers, vectors = [], []
    while some := cursor.fetchmany(2**12):
        some_rows, ids, blobs = zip(*some, strict=True)
        numbers.append(np.array(some_rows, np.int64))
        vectors.append(stacked(ids, blobs, dim))
    rows = np.concatenate(numbers) if numbers else np.empty(0, np.int64)
    matrix = np.concatenate(vectors) if vectors else np.empty((0, dim), np.float32)
    return View(Part(rows, matrix, journal.distance, approximate), seq)


def follow(cursor: sqlite3.Cursor, column: Column, view: View) -> bool:
    """Take up what was committed since; False if that is so much that the part is sooner loaded anew."""
    seq = last(cursor)
    if seq == view.seq:
        return True
    first = cursor.execute("SELECT min(seq) FROM changes").fetchone()[0]
    if seq - view.seq > view.part.count + MANY or view.seq < first - 1:
        return False
    changed = cursor.execute(
        f"SELECT c.row, i.id, CASE WHEN {belongs(column)} THEN {column} END"
        " FROM (SELECT DISTINCT row FROM changes WHERE seq > ?) c LEFT JOIN items i ON i.row = c.row",
        (view.seq,),
    ).fetchall()
    here = [one for one in changed if one[-1] is not None]
    rows, ids, blobs = zip(*here, strict=True) if here else [()] * 3
    matrix = stacked(ids, blobs, view.part.dim)
    view.part.remove(np.array([row for row, *_ in changed], np.int64))
    view.part.add(np.array(rows, np.int64), matrix)
    view.seq = seq
    return True
