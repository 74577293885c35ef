"""How long a report on a large gallery takes, and how much memory: files of synthetic embeddings, and a report on them.

    python -m benchmarks.perf.report -o results/report_speed.json

It writes files of 2 x 3 GB (1,000,000 items of 768 numbers) into a temporary folder, and deletes them; into one that is
given, where it finds them again. On a machine that does other things, look at the seconds of the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.embeddings.arguments import check_folder
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace

CHUNK = 2**15  # rows made at a time
OF_CLASS = 50  # items
BLUR = 2.2  # of an item, times the length of its class's centre
OLD_BLUR = 1.4  # additional noise in the old space, which is rotated too


def make(folder: Path, items: int, queries: int, dim: int) -> None:
    """Write files of a planted upgrade: the old space is the new one, rotated and with noise."""
    random = np.random.default_rng(0)
    classes = max(items // OF_CLASS, 2)
    centres = random.standard_normal((classes, dim), dtype=np.float32)
    turn = np.linalg.qr(random.standard_normal((dim, dim)))[0].astype(np.float32)
    for part, count in (("gallery", items), ("query", queries)):
        labels = random.integers(0, classes, count)
        np.save(folder / f"{part}_labels.npy", labels)
        new, old = (
            np.lib.format.open_memmap(folder / f"{part}_{name}.npy", "w+", np.float32, (count, dim))
            for name in ("new", "old")
        )
        for start in range(0, count, CHUNK):
            rows = slice(start, min(start + CHUNK, count))
            shape = (rows.stop - start, dim)
            new[rows] = centres[labels[rows]] + np.float32(BLUR) * random.standard_normal(shape, dtype=np.float32)
            old[rows] = (new[rows] + np.float32(OLD_BLUR) * random.standard_normal(shape, dtype=np.float32)) @ turn
        del new, old


def measure(command: list[str]) -> dict[str, Any]:
    """Run a command; returns its seconds, and its peak memory, of its own and with pages of mapped files."""
    started, peaks = time.perf_counter(), {"RssAnon": 0, "VmHWM": 0}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            for line in status.splitlines():
                name, _, value = line.partition(":")
                if name in peaks:
                    peaks[name] = max(peaks[name], int(value.split()[0]))
            time.sleep(0.05)
        assert process.stdout is not None
        printed = process.stdout.read()
    if process.returncode:
        raise InputError(f"report: exit code {process.returncode}, expected it to be written")
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "peak_own_memory_mib": round(peaks["RssAnon"] / 1024),
        "peak_with_mapped_files_mib": round(peaks["VmHWM"] / 1024),
        "printed": printed.splitlines()[:2],
    }


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.perf.report`."""
    parser = command_parser("benchmarks.perf.report", __doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--folder", help="keep the files there")
    parser.add_argument("-o", "--output", default="results/report_speed.json")
    return parser


def main() -> None:
    """Command line of `python -m benchmarks.perf.report`."""
    with exit_on_input_error():
        arguments = parser().parse_args()
        output = Path(arguments.output)
        check_folder(output.parent)
        with TemporaryDirectory() as name:
            folder = Path(arguments.folder or name)
            arrays = [f"{part}_{what}" for what in ("labels", "old", "new") for part in ("query", "gallery")]
            if not all((folder / f"{array}.npy").exists() for array in arrays):
                make(folder, arguments.items, arguments.queries, arguments.dim)
            files = [text for a in arrays for text in (f"--{a.replace('_', '-')}", str(folder / f"{a}.npy"))]
            report = [sys.executable, "-m", "benchmarks.report", *files, "--name", "made up"]
            found = measure([*report, "-o", str(Path(name, "report.html"))])
        sizes = {name: getattr(arguments, name) for name in ("items", "queries", "dim")}
        threads = os.environ.get("OMP_NUM_THREADS") or os.cpu_count()
        text = json.dumps({**sizes, "threads": int(threads or 1), **found}, indent=1) + "\n"
        replace(output, lambda path: path.write_text(text))
        print(text)


if __name__ == "__main__":
    main()
