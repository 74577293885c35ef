"""Speed control of a worker: a maximum rate, and less while queries are slow."""

from __future__ import annotations

import time
from collections.abc import Callable

SLOWER, FASTER = 0.5, 1.1  # multiplicative decrease while queries are too slow, increase otherwise
LEAST = 0.01  # minimum share of the speed


class Throttle:
    """Multiplicative increase and decrease of the speed; an additive step would need a unit of items per second.

    Attributes:
        share: share of the unhindered extraction speed in use; 1 unless queries are too slow.
    """

    def __init__(self) -> None:
        self.share = 1.0

    def delay(self, items: int, seconds: float, rate: float | None, target: float | None, p99: float | None) -> float:
        """Return the seconds to wait after a batch.

        Args:
            items: items of the batch.
            seconds: duration of the batch.
            rate: maximum items per second.
            target: target for the 99th percentile of query time, in seconds.
            p99: measured 99th percentile; None: unknown.
        """
        if items == 0:
            return 0.0
        speed = items / max(seconds, 1e-9)
        slow = target is not None and p99 is not None and p99 > target
        self.share = max(self.share * SLOWER, LEAST) if slow else min(self.share * FASTER, 1.0)
        allowed = min(speed * self.share, rate or float("inf"))
        return max(items / allowed - seconds, 0.0)


def wait(seconds: float) -> None:
    """Sleep."""
    if seconds > 0:
        time.sleep(seconds)


def repeat_with_pauses(step: Callable[[], bool]) -> None:
    """Repeat a step until it returns False, pausing after each for as long as it took.

    A writer waiting for SQLite's lock polls it now and then; without pauses it would never get it.
    """
    started = time.perf_counter()
    while step():
        wait(time.perf_counter() - started)
        started = time.perf_counter()
