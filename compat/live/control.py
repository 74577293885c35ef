"""Operations on a migration which need no models: pause, resume, throttle, status."""

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
    """Stop workers from starting another batch.

    Args:
        store: the store.
        note: the reason, one line.

    Raises:
        InputError: no migration is running.
    """
    return _change_phase(store, "pause", "running", "paused", " ".join(note.split()))


def resume(store: Store) -> Journal:
    """Let workers go on.

    Raises:
        InputError: no migration is paused.
    """
    return _change_phase(store, "resume", "paused", "running", "")


def throttle(store: Store, rate: float | None = None, latency: float | None = None) -> Journal:
    """Set the speed limits of workers; running workers follow.

    Args:
        store: the store.
        rate: maximum items per second and worker; None: no limit.
        latency: target for the 99th percentile of query time in seconds, above which workers slow down; None: none.
    """
    positive(rate=rate, latency=latency)
    speed, most = (None if value is None else float(value) for value in (rate, latency))
    return change_journal(store, lambda journal: replace(journal, rate=speed, latency=most))


def status(store: Store) -> dict[str, Any]:
    """Return the state of a migration as figures."""
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
    """Return the highest 99th percentile of query time over all searchers, in seconds; None if none is reported."""
    return max((beat["p99"] for beat in beats if "p99" in beat), default=None)


def _change_phase(store: Store, verb: str, expected: str, phase: Any, note: str) -> Journal:
    def change(journal: Journal) -> Journal:
        if journal.phase != expected:
            raise InputError(f"{verb}: the store is in phase {journal.phase}, expected {expected}")
        return replace(journal, phase=phase, note=note)

    return change_journal(store, change)
