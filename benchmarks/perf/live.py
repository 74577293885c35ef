"""Measure the live engine on a large synthetic gallery: a migration to the half, a resume, queries with and without it.

    python -m benchmarks.perf.live --items 1000000 -o results/live.json

Embeddings are looked up, so extraction costs next to nothing and the engine is measured; its overhead is given
over a small network too. Everything runs with one thread; the backfill and the queries are two processes.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.artifacts.record import provenance
from benchmarks.perf.apart import one_thread
from benchmarks.perf.large import measure
from benchmarks.perf.overhead import overhead
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace

SMALLEST = 500_000  # while fewer are migrated there is no time for the queries


def main() -> None:
    """Command line of `python -m benchmarks.perf.live`."""
    parser = command_parser("benchmarks.perf.live", __doc__)
    parser.add_argument("--items", type=int, default=1_000_000, help="size of the gallery (default 1,000,000)")
    parser.add_argument(
        "--folder", help="folder of its files, about 3 GB for a million items (default: a temporary one)"
    )
    parser.add_argument("-o", "--output", required=True, help="JSON file of the report")
    own = parser.parse_args()
    with exit_on_input_error(), TemporaryDirectory(dir=own.folder) as folder:
        if own.items < SMALLEST:
            raise InputError(f"items: {own.items}, expected at least {SMALLEST}")
        one_thread()
        report: dict[str, Any] = measure(own.items, Path(folder))
        report["overhead"] = overhead(Path(folder))
        report |= provenance()
        replace(Path(own.output), lambda file: file.write_text(json.dumps(report, indent=1) + "\n"))
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
