"""Verbs which need no models: create a store, inspect it, pause and resume a migration. They import no torch."""

from __future__ import annotations

import json
from argparse import Namespace
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from compat.errors import InputError, at_least_one, positive
from compat.live import control
from compat.live.checks import check_item
from compat.live.items import Journal
from compat.live.store import Store
from compat.live.throttle import wait
from compat.live.verbs.table import read

ENDED = ("none", "complete", "verified", "finalized", "rolled_back")


def init(arguments: Namespace, store: Store) -> int:
    """Create a store from a file of items; an empty store left by a killed process is filled."""
    table = read(arguments.items)
    fields = tuple(dict.fromkeys(name for name in arguments.fields.split(",") if name))
    for name in fields:
        if name not in table.meta:
            known = ", ".join(table.meta) or "none, as the table has no further columns"
            raise InputError(f"fields: {name!r}, expected {known}")
    journal = Journal(table.dim, arguments.distance, fields)
    for item in table.items():  # before the store is created
        check_item(item, journal)
    try:
        store.create(journal)
    except InputError:
        if not is_left_empty(store, journal):
            raise
    count = store.add(table.items())
    print(f"{count:,} items of dimension {table.dim}, {size(store.size())}; next: plan")
    return 0


def is_left_empty(store: Store, journal: Journal) -> bool:
    """Return whether there is an empty store with the same journal."""
    with suppress(InputError):
        return replace(store.journal(), store="") == journal and store.counts().total == 0
    return False


def status(arguments: Namespace, store: Store) -> int:
    """Print the state of the migration; with --watch until it ends."""
    positive(watch=arguments.watch)
    while True:
        found = control.status(store)
        if arguments.json:
            print(json.dumps(found), flush=True)
        elif arguments.watch:
            print(status_line(found), flush=True)
        else:
            print(status_table(found))
        if not arguments.watch or found["phase"] in ENDED:
            return 0
        wait(arguments.watch)


def history(arguments: Namespace, store: Store) -> int:
    """Print the changes of the journal, one per line."""
    at_least_one(count=arguments.count)
    store.journal()
    entries = store.history(arguments.count)
    if arguments.json:
        print(json.dumps([entry._asdict() for entry in entries]))
        return 0
    for at, who, version, changes in entries:
        when = datetime.fromtimestamp(at, timezone.utc).isoformat(" ", "seconds")
        changed = ", ".join(f"{name}: {json.dumps(was)} -> {json.dumps(now)}" for name, (was, now) in changes.items())
        print(f"{when}  {who}  {version}  {changed}")
    return 0


def backup(arguments: Namespace, store: Store) -> int:
    """Copy the store to a new file."""
    copied = getattr(store, "backup", None)
    if copied is None:
        raise InputError("backup: of a server, expected sqlite:///path; a server's own tools copy it whole")
    journal = copied(arguments.copy)
    print(f"copied in phase {journal.phase}; the copy is store {journal.store}: sqlite:///{arguments.copy}")
    return 0


def pause(arguments: Namespace, store: Store) -> int:
    """Let workers end after their current batch."""
    control.pause(store, arguments.note)
    print("paused: workers end after their batch; queries are answered; `resume` or `run` continues")
    return 0


def resume(arguments: Namespace, store: Store) -> int:
    """Let workers go on."""
    control.resume(store)
    print("running: start workers which have ended with `run`")
    return 0


def throttle(arguments: Namespace, store: Store) -> int:
    """Set the speed limits of workers."""
    journal = control.throttle(store, arguments.rate, arguments.latency)
    print(limits_text(journal.rate, journal.latency))
    return 0


def status_line(found: dict[str, Any]) -> str:
    """Format a status in one line."""
    parts = [found["phase"], f"{found['migrated']:,} of {found['items']:,} ({found['progress']:.1%})"]
    if found["pending"] and found["eta_seconds"] is not None:
        parts.append(f"{found['items_per_second']:,.0f} items/s, about {duration(found['eta_seconds'])} left")
    if found["dead_letters"]:
        parts.append(f"{found['dead_letters']:,} failed items")
    return ", ".join(parts)


def status_table(found: dict[str, Any]) -> str:
    """Format a status as a table."""
    speed = f"{found['items_per_second']:,.0f} items/s by {found['workers']} workers"
    left = "" if found["eta_seconds"] is None else f", about {duration(found['eta_seconds'])} left"
    slow = found["query_p99_seconds"]
    rows = {
        "phase": " ".join(filter(None, [found["phase"], found["note"] and f"({found['note']})"])),
        "migration": f"{found['migration']}, order {found['order']}" if found["migration"] else "none yet",
        "migrated": f"{found['migrated']:,} of {found['items']:,} ({found['progress']:.1%})",
        "pending": f"{found['pending']:,}",
        "failed items": f"{found['dead_letters']:,}" + (", see `verify`" if found["dead_letters"] else ""),
        "unserved": f"{found['unserved']:,}",
        "speed": f"{speed}{left}" if found["workers"] else "no worker",
        "slowest query in 100": "unknown" if slow is None else f"{1000 * slow:.1f} ms",
        "limits": limits_text(found["rate"], found["latency"]),
        "on disk": size(found["bytes"]),
    }
    return "\n".join(f"{name:<21}{text}" for name, text in rows.items())


def limits_text(rate: float | None, latency: float | None) -> str:
    """Format the limits of workers."""
    fast = "as fast as they can" if rate is None else f"at most {rate:g} items/s each"
    return f"workers go {fast}" + ("" if latency is None else f", less while queries take over {latency:g} s")


def duration(seconds: float) -> str:
    """Format seconds in a suitable unit.

    Example:
        >>> duration(42.4), duration(600), duration(90_000)
        ('42 s', '10 min', '25.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Format bytes in a suitable unit.

    Example:
        >>> size(2048), size(3 * 2**20)
        ('2.0 KiB', '3.0 MiB')
    """
    power = min(max(int(count).bit_length() - 1, 0) // 10, 4)
    return f"{count / 2 ** (10 * power):.{min(power, 1)}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
