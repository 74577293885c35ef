"""How fast a worker may go: at most so many items a second, and less while queries are slow."""

from __future__ import annotations

import time
from collections.abc import Callable

SLOWER, FASTER = 0.5, 1.1  # multiplicative decrease while queries are too slow, increase otherwise
LEAST = 0.01  # share of the speed found so far that is kept at least


class Throttle:
    """Additive-increase control would need a step in items per second; shares of what was measured need none.

    Attributes:
        share: of the speed that extraction reaches unhindered, which is used: 1 unless queries are too slow.
    """

    def __init__(self) -> None:
        self.share = 1.0

    def delay(self, items: int, seconds: float, rate: float | None, target: float | None, p99: float | None) -> float:
        """Seconds to wait after a batch.

        Args:
            items: of the batch.
            seconds: that it took.
            rate: items a second, at most.
            target: of the slowest query in a hundred, seconds.
            p99: what it is; None: nobody says.
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
    """Do a step until it says that nothing is left, waiting after each as long as it took, so that others get a turn.

    A writer that waits for SQLite's lock looks again every now and then; without a pause it would look in vain.
    """
    started = time.perf_counter()
    while step():
        wait(time.perf_counter() - started)
        started = time.perf_counter()
