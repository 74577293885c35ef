"""Backup of a store while it is in use."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing
from dataclasses import replace as changed
from pathlib import Path

from compat.errors import InputError
from compat.live.items import Journal, new_store
from compat.live.sqlite.file import SqliteConnection, read_journal, replace_journal, second_connection, translate_errors


def copy_store(link: SqliteConnection, path: Path) -> Journal:
    """Copy a consistent state of a store to a new file, completely or not at all.

    The copy gets its own id: processes opened on the store refuse the copy in its place, and workers cannot hand in
    batches extracted before.

    Args:
        link: connection to the store.
        path: path of the copy.

    Returns:
        The journal of the copy.

    Raises:
        InputError: the file exists, or its folder does not; the copy is damaged.
    """
    if path.exists() or not path.absolute().parent.is_dir():
        raise InputError(f"backup: {str(path)!r}, expected a new file in an existing folder")
    link.journal()  # refuse a path without a store
    begun = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with (
            translate_errors(link.path),
            second_connection(link.path) as base,
            closing(sqlite3.connect(begun, isolation_level=None)) as copy,
        ):
            base.backup(copy)
            copy.execute("PRAGMA journal_mode = WAL")
            copy.execute("PRAGMA synchronous = FULL")
            if (found := copy.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                raise InputError(f"backup: the copy of {link.path} is damaged ({found}), expected a sound store")
            cursor = copy.execute("BEGIN IMMEDIATE")
            journal = read_journal(cursor)
            replace_journal(cursor, journal, own := changed(journal, store=new_store()))
            cursor.execute("DELETE FROM claims")
            copy.execute("COMMIT")
            copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.replace(begun, path)
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        os.fsync(folder)  # otherwise a power loss may undo the rename
        os.close(folder)
    finally:
        for end in ("", "-wal", "-shm"):
            Path(f"{begun}{end}").unlink(missing_ok=True)
    return own
