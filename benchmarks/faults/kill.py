"""Kill a benchmark at random moments of every stage, resume it, and compare its results with those of a run left alone.

    python -m benchmarks.faults.kill configs/digits.yaml --seed=0 --kills 100 -o results/kill_digits.json

Each process is killed (SIGKILL) while it makes the next missing artifact, at a random moment within 1.5 times the
time of the undisturbed run, which includes collecting the result. When nothing is
missing any more the results are compared, and it begins anew in an empty folder.
"""

from __future__ import annotations

import json
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace
from compat.results import load_experiment, load_query_auc, load_results

SAME = (
    "key", "progress", "curves", "mean_ap_orders", "old", "new", "queries",
    "queries_without_positive", "gallery_items", "encoder_passes_per_query", "bytes_per_item", "needs", "spec",
)  # fmt: skip


def started(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start the benchmark as a process of its own, in this folder."""
    own = [f"--runs={folder / 'runs'}", f"--results={folder / 'results'}"]
    command = [sys.executable, "-m", "benchmarks.run", *arguments, *own]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, bufsize=1)


def alone(arguments: list[str], folder: Path) -> tuple[dict[str, list[Any]], dict[str, float]]:
    """Run without kills; return the results, and the seconds of each artifact.

    Raises:
        InputError: it fails.
    """
    process = started(arguments, folder)
    _, errors = process.communicate()
    if process.returncode:
        raise InputError(f"config: {errors.strip().splitlines()[-1]}, expected a running benchmark")
    records = [json.loads(path.read_text()) for path in (folder / "runs").glob("*/record.json")]
    return results_of(folder), {record["label"]: float(record["seconds"]) for record in records}


def results_of(folder: Path) -> dict[str, list[Any]]:
    """Return all figures by labels, except seconds, with each query's area; and the results without provenance."""
    (benchmark,) = (folder / "results").iterdir()
    records = load_experiment(benchmark)["provenance"].keys()
    found = {}
    for result in load_results(benchmark):
        areas = load_query_auc(benchmark, result)
        each = None if areas is None else np.nan_to_num(areas, nan=-1).tolist()
        lost = [name for name in result.provenance if name not in records]
        found[json.dumps(result.labels)] = [
            *(getattr(result, name) for name in SAME), each, lost
        ]  # fmt: skip
    return found


def killed(process: subprocess.Popen[str], after: int, seconds: dict[str, float], chance: random.Random) -> str | None:
    """Kill a process while it makes its artifact of this number, and return its label; None if it ended before."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[") and "] " in line:
            after -= 1
            label = line.split("] ", 1)[1].rsplit(" (", 1)[0]
            if after < 0:
                limit = time.monotonic() + chance.random() * 1.5 * max(seconds.get(label, 0.0), 0.05)
                while time.monotonic() < limit and process.poll() is None:
                    select.select([process.stderr], [], [], 0.005)
                process.kill()
                process.wait()
                return label if process.returncode == -signal.SIGKILL else None
    process.wait()
    return None


def measure(arguments: list[str], kills: int, seed: int) -> dict[str, Any]:
    """Kill this many times; count the kills by stage, and the lost or different results."""
    chance, by_stage, lost, other, rounds = random.Random(seed), Counter[str](), 0, 0, 0
    with TemporaryDirectory() as scratch:
        figures, seconds = alone(arguments, Path(scratch, "alone"))
        while sum(by_stage.values()) < kills:
            folder = Path(scratch, "killed")
            while sum(by_stage.values()) < kills:
                label = killed(started(arguments, folder), chance.randrange(2), seconds, chance)
                if label is None:
                    break
                by_stage[label] += 1
                print(f"{sum(by_stage.values())}/{kills} killed: {label}", file=sys.stderr, flush=True)
            found, _ = alone(arguments, folder)
            lost += len(figures.keys() - found.keys())
            other += sum(found[name] != values for name, values in figures.items() if name in found)
            rounds += 1
            shutil.rmtree(folder)
    counts = {"kills": sum(by_stage.values()), "runs": rounds, "results_of_a_run": len(figures)}
    return {**counts, "lost": lost, "torn_or_other": other, "kills_by_product": dict(sorted(by_stage.items()))}


def main() -> None:
    """Command line of `python -m benchmarks.faults.kill`."""
    parser = command_parser("benchmarks.faults.kill", __doc__)
    parser.add_argument("--kills", type=int, default=100, help="number of kills (default 100)")
    parser.add_argument("--chance", type=int, default=0, help="seed of the moments")
    parser.add_argument("-o", "--output", required=True, help="JSON file of the report")
    with exit_on_input_error():
        own, arguments = parser.parse_known_args()
        from benchmarks.artifacts.record import provenance

        report = {"arguments": arguments, **measure(arguments, own.kills, own.chance), **provenance()}
        replace(Path(own.output), lambda file: file.write_text(json.dumps(report, indent=1) + "\n"))
        print(
            f"{report['kills']} kills in {report['runs']} runs: {report['lost']} lost, {report['torn_or_other']} torn"
        )
    sys.exit(1 if report["lost"] or report["torn_or_other"] else 0)


if __name__ == "__main__":
    main()
