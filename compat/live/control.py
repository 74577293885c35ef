"""What an operator does to a migration without its models: hold it, let it go, slow it down, look at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from compat.errors import InputError, positive
from compat.live.items import Journal
from compat.live.process import is_dead
from compat.live.store import Store, change_journal

FRESH = 30.0  # seconds for which a process counts as running


def pause(store: Store, note: str = "by hand") -> Journal:
    """Let no worker begin another batch.

    Args:
        store: the store.
        note: why, in a line.

    Raises:
        InputError: no migration runs.
    """
    return _change_phase(store, "pause", "running", "paused", " ".join(note.split()))


def resume(store: Store) -> Journal:
    """Let workers go on.

    Raises:
        InputError: no migration is paused.
    """
    return _change_phase(store, "resume", "paused", "running", "")


def throttle(store: Store, rate: float | None = None, latency: float | None = None) -> Journal:
    """Set how fast workers may go, also while they run.

    Args:
        store: the store.
        rate: items a second of each worker, at most; None: no limit.
        latency: seconds that the slowest query in a hundred may take, else workers make way; None: no limit.
    """
    positive(rate=rate, latency=latency)
    speed, most = (None if value is None else float(value) for value in (rate, latency))
    return change_journal(store, lambda journal: replace(journal, rate=speed, latency=most))


def status(store: Store) -> dict[str, Any]:
    """All that is to be known of a migration, as figures."""
    journal, counts, beats = store.journal(), store.counts(), store.beats(FRESH)
    workers = {name: beat for name, beat in beats.items() if "items_per_second" in beat and not is_dead(name)}
    speed = sum(beat["items_per_second"] for beat in workers.values())
    return {
        "phase": journal.phase,
        "migration": journal.migration,
        "note": journal.note,
        "order": journal.order,
        "items": counts.total,
        "migrated": counts.new,
        "pending": counts.pending,
        "dead_letters": counts.failed,
        "unserved": counts.unserved,
        "progress": counts.new / counts.total if counts.total else 0.0,
        "items_per_second": speed,
        "eta_seconds": counts.pending / speed if speed else None,
        "conflicts": sum(beat["conflicts"] for beat in workers.values()),
        "workers": len(workers),
        "query_p99_seconds": slowest_query(beats.values()),
        "rate": journal.rate,
        "latency": journal.latency,
        "bytes": store.size(),
    }


def slowest_query(beats: Iterable[Mapping[str, float]]) -> float | None:
    """Seconds that the slowest query in a hundred takes, of the searcher where it takes longest; None if none tells."""
    return max((beat["p99"] for beat in beats if "p99" in beat), default=None)


def _change_phase(store: Store, verb: str, expected: str, phase: Any, note: str) -> Journal:
    def change(journal: Journal) -> Journal:
        if journal.phase != expected:
            raise InputError(f"{verb}: the store is in phase {journal.phase}, expected {expected}")
        return replace(journal, phase=phase, note=note)

    return change_journal(store, change)
