"""Record SQLite's file operations by a shim in its own layer for the operating system, in the process itself.

SQLite accesses files through a table of functions, its VFS. Functions changing a file are replaced by ones which do the
same and then leave a record. From the records a disk without unsynced data can be built, see `disk`.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import pickle
import time
from collections.abc import Callable, Iterator
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

from compat.errors import InputError

CREATES = 4  # SQLITE_OPEN_CREATE
FUNCTIONS = 18  # of a file, in the newest version of their table
OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
KEPT: list[Any] = []  # functions called by C, alive as long as the process
CHANGES = {2: WRITE, 3: TRUNCATE, 4: SYNC}  # functions changing a file, by their place in its table


class Vfs(Structure):
    """The beginning of `sqlite3_vfs`."""

    _fields_ = [
        ("version", c_int),
        ("size", c_int),
        ("longest", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
    ]


class Methods(Structure):
    """`sqlite3_io_methods`."""

    _fields_ = [("version", c_int), ("functions", c_void_p * FUNCTIONS)]


class File(Structure):
    """The beginning of an open file."""

    _fields_ = [("methods", POINTER(Methods))]


class Event(NamedTuple):
    """A change of a file by SQLite.

    Attributes:
        at: time, in nanoseconds of the clock of `processes.Log`.
        verb: "create", "write", "truncate", "sync" or "delete".
        name: of the file.
        place: offset of a write, size after a truncation, or whether the folder was synced after a delete.
        data: written bytes.
    """

    at: int
    verb: str
    name: str
    place: int = 0
    data: bytes = b""


class Recorder:
    """Record all changes of files with this path prefix, from now on, in this process.

    Args:
        path: of the recording; several processes may append to it.
        prefix: of the files.

    Raises:
        InputError: an inaccessible SQLite.
    """

    def __init__(self, path: Path, prefix: Path) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.prefix = os.fsencode(prefix)
        self.names: dict[int, str] = {}
        self.tables: dict[int, Methods] = {}
        vfs = found_vfs()
        self.opened, self.deleted = OPEN(vfs.open), DELETE(vfs.delete)
        vfs.open, vfs.delete = self.address(OPEN(self.open)), self.address(DELETE(self.delete))

    def address(self, function: Any) -> int | None:
        """Return a function's address for C, and keep the function alive."""
        KEPT.append(function)
        return ctypes.cast(function, c_void_p).value

    def note(self, verb: str, name: str, place: int = 0, data: bytes = b"") -> None:
        """Write one record, whole."""
        os.write(self.file, pickle.dumps(Event(time.monotonic_ns(), verb, name, place, data)))

    def open(self, vfs: int, path: int, file: int, flags: int, out: int) -> int:
        """Open a file; a file with the prefix gets a table of recording functions."""
        name = ctypes.string_at(path) if path else b""
        ours = name.startswith(self.prefix) and len(name) > 0
        new = ours and bool(flags & CREATES) and not os.path.exists(name)
        code: int = self.opened(vfs, path, file, flags, out)
        if code == 0 and ours:
            self.names[file] = os.path.basename(os.fsdecode(name))
            if new:
                self.note("create", self.names[file])
            found = ctypes.cast(file, POINTER(File)).contents
            found.methods = ctypes.pointer(self.table(found.methods))
        return code

    def delete(self, vfs: int, path: bytes, synced: int) -> int:
        """Delete a file."""
        code: int = self.deleted(vfs, path, synced)
        if code == 0 and path.startswith(self.prefix):
            self.note("delete", os.path.basename(os.fsdecode(path)), synced)
        return code

    def table(self, methods: Any) -> Methods:
        """Return a copy of a table of functions with recording ones for changes."""
        key = ctypes.addressof(methods.contents)
        if key not in self.tables:
            count = {1: 12, 2: 16}.get(methods.contents.version, FUNCTIONS)
            table = Methods(methods.contents.version)
            for n in range(count):
                table.functions[n] = methods.contents.functions[n]
            for n, kind in CHANGES.items():
                told = {2: self.write, 3: self.truncate, 4: self.sync}[n](kind(table.functions[n]))
                table.functions[n] = self.address(kind(told))
            self.tables[key] = table
        return self.tables[key]

    def write(self, honest: Any) -> Callable[..., int]:
        def write(file: int, data: int, size: int, place: int) -> int:
            code: int = honest(file, data, size, place)
            self.note("write", self.names[file], place, ctypes.string_at(data, size))
            return code

        return write

    def truncate(self, honest: Any) -> Callable[..., int]:
        def truncate(file: int, size: int) -> int:
            code: int = honest(file, size)
            self.note("truncate", self.names[file], size)
            return code

        return truncate

    def sync(self, honest: Any) -> Callable[..., int]:
        def sync(file: int, flags: int) -> int:
            code: int = honest(file, flags)
            self.note("sync", self.names[file])
            return code

        return sync


def found_vfs() -> Vfs:
    """Find the table of functions of Python's SQLite.

    Raises:
        InputError: this build has none accessible.
    """
    try:
        find = ctypes.CDLL(_sqlite3.__file__).sqlite3_vfs_find
    except (AttributeError, OSError) as error:
        raise InputError(f"sqlite: {error}, expected a library exporting sqlite3_vfs_find") from error
    find.restype = POINTER(Vfs)
    return find(None).contents


def read(path: Path) -> Iterator[Event]:
    """Read records in their order."""
    with path.open("rb") as file:
        while file.peek(1):
            yield pickle.load(file)
