"""What a person sees while artifacts are made: one line an artifact, with how many are left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.artifacts.store import ArtifactStore
    from benchmarks.jobs.plan import Job


class Progress:
    """Counts what is made. A line names the stage, the model or method and seed, and says how much there is to do."""

    def __init__(self) -> None:
        self.total = self.made = 0
        self.started = time.monotonic()

    def expect(self, store: ArtifactStore, jobs: Iterable[Job]) -> None:
        """How many artifacts the jobs still need."""
        from benchmarks.artifacts.artifact import graph

        needed = dict.fromkeys(artifact for job in jobs for artifact in graph(job.curve))
        self.total = sum(store.record(artifact) is None for artifact in needed)

    def begin(self, label: str) -> None:
        """Say that an artifact is being made."""
        self.made += 1
        elapsed = time.monotonic() - self.started
        of = f"{self.made}/{max(self.total, self.made)}"
        print(f"[{of}] {label} ({elapsed:.0f} s so far)", file=sys.stderr, flush=True)
