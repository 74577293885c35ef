"""Histograms of durations with Prometheus buckets, as processes report them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Histogram:
    """Count durations by bucket since the process started.

    Args:
        name: prefix of the figures.
    """

    def __init__(self, name: str) -> None:
        self.name, self.counts, self.sum = name, [0] * (len(BOUNDS) + 1), 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    @property
    def figures(self) -> dict[str, float]:
        """Counts of the non-empty buckets (not cumulative), and the sum of durations."""
        found: dict[str, float] = {f"{self.name}_seconds_sum": self.sum}
        return found | {f"{self.name}_seconds_{n}": count for n, count in enumerate(self.counts) if count}


def cumulative_buckets(name: str, figures: Mapping[str, float]) -> tuple[list[tuple[str, float]], float] | None:
    """Convert reported figures to cumulative counts by bound and the sum; None if there are none of this name."""
    if f"{name}_seconds_sum" not in figures:
        return None
    found, total = [], 0.0
    for n, bound in enumerate([*map(str, BOUNDS), "+Inf"]):
        total += figures.get(f"{name}_seconds_{n}", 0)
        found.append((bound, total))
    return found, figures[f"{name}_seconds_sum"]
