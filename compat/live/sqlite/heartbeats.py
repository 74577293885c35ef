"""Heartbeats of processes, in a file beside the store's, so nobody waits for the store's lock."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

OLD = 86_400.0  # seconds after which figures are deleted
T = TypeVar("T")
BUSY = 0.02  # seconds for which a write waits for another


class Heartbeats:
    """Figures by name of process; they may be lost, so no write waits for the disk.

    Args:
        path: path of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(f"{path}-beats")

    def write(self, name: str, figures: Mapping[str, float]) -> None:
        """Write figures under a name.

        Raises:
            OSError: the file cannot be written.
        """
        now = time.time()

        def written(base: sqlite3.Connection) -> None:
            base.execute("CREATE TABLE IF NOT EXISTS beats (name TEXT PRIMARY KEY, at REAL NOT NULL, figures TEXT)")
            base.execute("DELETE FROM beats WHERE at < ?", (now - OLD,))
            base.execute("INSERT OR REPLACE INTO beats VALUES (?, ?, ?)", (name, now, json.dumps(dict(figures))))

        self._with_file(written)

    def read(self, since: float) -> dict[str, Mapping[str, float]]:
        """Return the figures of each process written in the last `since` seconds, by name."""

        def read(base: sqlite3.Connection) -> list[tuple[str, str]]:
            if not base.execute("SELECT 1 FROM sqlite_master WHERE name = 'beats'").fetchone():
                return []
            select = "SELECT name, figures FROM beats WHERE at > ?"
            return base.execute(select, (time.time() - since,)).fetchall()

        rows = self._with_file(read) if self.path.is_file() else None
        return {name: json.loads(figures) for name, figures in rows or []}

    def _with_file(self, step: Callable[[sqlite3.Connection], T]) -> T | None:
        """Run a step on the file; None if it is locked, or damaged (then it is deleted)."""
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY, isolation_level=None)) as base:
                base.execute("PRAGMA synchronous = OFF")
                return step(base)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                return None  # figures are not worth waiting for
            raise OSError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError:
            self.path.unlink(missing_ok=True)
            return None
