"""Read-only files: of another user, or on a read-only file system."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from compat.errors import InputError

Stamp: TypeAlias = tuple[int, ...]
LITTLE = 2**16  # free bytes: less than the index of a write-ahead log needs

EFFECTIVE = os.access in os.supports_effective_ids  # whether permissions can be checked as `open` does


def may_write(path: Path) -> bool:
    """Return whether this process may write to a file, or create files in a folder."""
    return os.access(path, os.W_OK, effective_ids=EFFECTIVE)


def is_writable(path: Path) -> bool:
    """Return whether the file may be changed, and others created beside it."""
    return (not path.exists() or may_write(path)) and may_write(path.absolute().parent)


def is_fixed(path: Path) -> bool:
    """Return whether SQLite can only read the file as immutable.

    Otherwise it creates files beside it, or finds those of others.
    """
    return path.is_file() and not may_write(path.absolute().parent) and not has_log(path)


def has_log(path: Path) -> bool:
    """Return whether there is a non-empty write-ahead log."""
    log = Path(f"{path}-wal")
    return log.is_file() and log.stat().st_size > 0


def connect_readonly(path: Path, busy: float) -> sqlite3.Connection:
    """Open a read-only connection.

    Args:
        path: path of the file.
        busy: seconds to wait for a lock.

    Raises:
        InputError: the file cannot be read in its present state.
    """
    address = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if is_fixed(path) else ''}"
    base = sqlite3.connect(address, uri=True, timeout=busy, isolation_level=None, check_same_thread=False)
    try:
        base.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        base.close()
        if isinstance(error, sqlite3.OperationalError) and has_log(path):
            why = f"{path} is read-only, and has a pending write-ahead log ({error})"
            raise InputError(f"store: {why}, expected a store closed by its last user, or a `backup`") from error
        raise explain_error(path, error) from error
    return base


def explain_error(path: Path, error: Exception) -> InputError | OSError:
    """Make the error which says why a file cannot be used."""
    if "full" in str(error) or "I/O" in str(error):
        full = "full" in str(error) or shutil.disk_usage(path.absolute().parent).free < LITTLE
        return OSError(f"{path}: {error}{', as the disk is full' if full and 'full' not in str(error) else ''}")
    if not is_writable(path) or "readonly" in str(error):
        return InputError(f"store: {path} is read-only ({error}), expected a writable file and folder")
    return InputError(f"store: {path} ({error}), expected a file made by `init`")


def file_stamp(path: Path, whole: bool) -> Stamp | None:
    """Return the identity of a file (device and inode); None if there is none.

    Args:
        path: path of the file.
        whole: whether it is read as immutable; then include everything which shows a change.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    changes = (found.st_mtime_ns, found.st_size, has_log(path)) if whole else ()
    return found.st_dev, found.st_ino, *changes
