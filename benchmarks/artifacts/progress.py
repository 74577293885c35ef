"""Progress output: one line per artifact, with the number of remaining ones."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.artifacts.store import ArtifactStore
    from benchmarks.jobs.plan import Job


class Progress:
    """Count artifacts. A line names the stage, the model or method and seed, and the remaining work."""

    def __init__(self) -> None:
        self.total = self.made = 0
        self.started = time.monotonic()

    def expect(self, store: ArtifactStore, jobs: Iterable[Job]) -> None:
        """Set the number of artifacts still missing."""
        from benchmarks.artifacts.artifact import graph

        needed = dict.fromkeys(artifact for job in jobs for artifact in graph(job.curve))
        self.total = sum(store.record(artifact) is None for artifact in needed)

    def begin(self, label: str) -> None:
        """Print the start of an artifact."""
        self.made += 1
        elapsed = time.monotonic() - self.started
        of = f"{self.made}/{max(self.total, self.made)}"
        print(f"[{of}] {label} ({elapsed:.0f} s so far)", file=sys.stderr, flush=True)
