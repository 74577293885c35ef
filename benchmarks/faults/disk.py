"""A disk losing power: synced data stay; of the rest some, all or none, in pieces of a sector."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from benchmarks.faults.recorder import Event

SECTOR = 512  # bytes, written whole or not at all
SHARES = (0.0, 0.5, 0.9, 1.0)  # share of the unsynced changes on the disk nevertheless


class Content:
    """Content of a file.

    Args:
        synced: bytes safe on the disk.
    """

    def __init__(self, synced: bytes = b"") -> None:
        self.synced, self.pending = bytearray(synced), list[Event]()

    def sync(self) -> None:
        """Make all changes safe."""
        for event in self.pending:
            change(self.synced, event.verb, event.place, event.data)
        self.pending.clear()

    def after(self, share: float, chance: random.Random) -> bytes:
        """Return the content after a loss: each unsynced change kept by chance; the lost ones in part."""
        found = bytearray(self.synced)
        for event in self.pending:
            if chance.random() < share:
                change(found, event.verb, event.place, event.data)
            elif event.verb == "write" and chance.random() < share:
                for start, piece in sectors(event):
                    if chance.random() < 0.5:
                        change(found, "write", start, piece)
        return bytes(found)


class Disk:
    """Files by name, and which of their names are on the disk.

    A name is safe once the file or its folder was synced; until then names come and go in their order.

    Args:
        files: on the disk.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.now = {name: Content(data) for name, data in files.items()}
        self.synced = dict(self.now)
        self.pending: list[tuple[str, Content | None]] = []

    def run(self, events: Iterable[Event]) -> Disk:
        """Apply these changes."""
        for event in events:
            if event.verb == "create":
                self.now[event.name] = Content()
                self.pending.append((event.name, self.now[event.name]))
            elif event.verb == "delete":
                self.now.pop(event.name, None)
                self.pending.append((event.name, None))
                if event.place:
                    self.sync()
            elif event.verb == "sync":
                content = self.now[event.name]
                content.sync()
                if any(other is content for _, other in self.pending):
                    self.sync()
            else:
                self.now[event.name].pending.append(event)
        return self

    def sync(self) -> None:
        """Make all names safe."""
        self.synced = dict(self.now)
        self.pending.clear()

    def whole(self) -> dict[str, bytes]:
        """Return the files as a process sees them."""
        return {name: content.after(1.0, random.Random()) for name, content in self.now.items()}

    def after(self, chance: random.Random) -> dict[str, bytes]:
        """Return the files after a loss of power."""
        share, found = chance.choice(SHARES), dict(self.synced)
        for name, content in self.pending[: chance.randint(0, len(self.pending))]:
            if content is None:
                found.pop(name, None)
            else:
                found[name] = content
        return {name: content.after(share, chance) for name, content in found.items()}


def change(data: bytearray, verb: str, place: int, piece: bytes) -> None:
    """Write a piece of a file, beyond its end with zeros before it, or truncate it."""
    if verb == "truncate":
        del data[place:]
        return
    data.extend(bytes(max(place - len(data), 0)))
    data[place : place + len(piece)] = piece


def sectors(event: Event) -> Iterable[tuple[int, bytes]]:
    """Split a write into sectors, written whole or not at all, each with its place."""
    start, end = event.place, event.place + len(event.data)
    while start < end:
        stop = min(start - start % SECTOR + SECTOR, end)
        yield start, event.data[start - event.place : stop - event.place]
        start = stop
