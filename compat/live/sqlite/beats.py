"""What processes say of themselves, in a file beside the store's, so that nobody waits for the store's lock."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

OLD = 86_400.0  # seconds after which figures of a process are forgotten
BUSY = 1.0  # seconds that a write waits for another


class Beats:
    """Figures by name of a process. They may be lost, so no write waits for the disk.

    Args:
        path: of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(f"{path}-beats")

    def tell(self, name: str, figures: Mapping[str, float]) -> None:
        """Leave figures under a name.

        Raises:
            OSError: the file cannot be written.
        """
        now = time.time()
        with self._opened() as base:
            base.execute("CREATE TABLE IF NOT EXISTS beats (name TEXT PRIMARY KEY, at REAL NOT NULL, figures TEXT)")
            base.execute("DELETE FROM beats WHERE at < ?", (now - OLD,))
            base.execute("INSERT OR REPLACE INTO beats VALUES (?, ?, ?)", (name, now, json.dumps(dict(figures))))

    def told(self, since: float) -> dict[str, Mapping[str, float]]:
        """Figures of each process that left some in the last seconds, by name."""
        if not self.path.is_file():
            return {}
        with self._opened() as base:
            if not base.execute("SELECT 1 FROM sqlite_master WHERE name = 'beats'").fetchone():
                return {}
            rows = base.execute("SELECT name, figures FROM beats WHERE at > ?", (time.time() - since,)).fetchall()
        return {name: json.loads(figures) for name, figures in rows}

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        base = None
        try:
            base = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None)
            base.execute("PRAGMA synchronous = OFF")
            yield base
        except sqlite3.Error as error:
            raise OSError(f"{self.path}: {error}") from error
        finally:
            if base is not None:
                base.close()
