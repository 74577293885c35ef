"""Break the live engine on purpose: kill it at random moments and at every line, stop it, fill its disk, cut its power.

    python -m benchmarks.faults --store sqlite --kills 1000 --seed 0 -o results/live_faults_sqlite.json

Processes are forked from a warm one, log their actions, and are killed (SIGKILL). A checker derives from the
logs the possible states at each moment, and checks every answer to a stream of queries, and the
store at the end. It must reject engines broken on purpose. With `--store postgres` a server is started for
it. A kill is not a loss of power: the operating system keeps its buffers. So SQLite's file operations are
recorded too, and replayed to disks without the data not yet synced at some moment.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.faults import beginnings, curve, full, lines, moments, power, zombies
from benchmarks.faults.controls import CONTROLS, control
from benchmarks.faults.evidence import Evidence
from benchmarks.faults.places import PLACES, Place
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace

BACK = 5  # one round of this many is a rollback, and one more rewrites the gallery
AT_ONCE = 20  # kills at lines whose stores are looked at by one process
ROUNDS = 5  # of each broken engine
ROOMS = (40, 80, 120, 160, 200)  # KiB, limits of a file's size
LOSSES = 10  # of power per round, for an engine syncing too little
SHOWN = 5  # violations in the report


def log(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def summarize(found: Sequence[Evidence]) -> dict[str, Any]:
    """Count the injected faults of several runs, and the violations by kind."""
    wrong = [one for its in found for one in its.store]
    missed = [one for its in found for one in its.answers]
    kinds = ("lost", "stale", "resurrected", "acknowledged and gone", "torn", "twice")
    in_store = Counter(one.kind for one in wrong)
    return {
        "runs": len(found),
        **dict(sorted(sum((its.counts for its in found), Counter[str]()).items())),
        "redone_beyond_what_was_in_flight": sum(count_redone(its) for its in found),
        "wrong_in_store": {kind: in_store[kind] for kind in kinds},
        "wrong_in_answers": dict(Counter(one.kind for one in missed)),
        "examples": [one.text for one in (wrong + missed)[:SHOWN]],
    }


def count_redone(found: Evidence) -> int:
    """Count the items extracted again although no process died with them."""
    return max(found.counts["items_extracted_again"] - found.counts["items_in_flight"], 0)


def random_moments(place: Place, kills: int, seed: int) -> dict[str, Any]:
    """Run rounds until this many processes were killed."""
    chance, found, done = random.Random(seed), list[Evidence](), 0
    while done < kills:
        number = len(found)
        with place.setting(forward=number % BACK == 1) as setting:
            its = moments.measured(setting, chance, place.settled, f"{seed}.{number}", back=number % BACK == 2)
        found.append(its)
        done += sum(count for name, count in its.counts.items() if name.startswith("kills"))
        if number % 10 == 0:
            log(f"{done}/{kills} kills at random moments")
    return summarize(found)


def every_line(place: Place, most: int) -> dict[str, Any]:
    """Kill each story at the first and at the last execution of each line, or at this many of these."""
    report = {}
    for name, story in lines.STORIES.items():
        options = {**lines.SMALL, "forward": story.forward}
        with place.setting(**options) as setting:
            counts = lines.counted(story, setting)
        stops = sorted({(place, number) for place, count in counts.items() for number in (1, count)})
        stops = stops[:: -(-len(stops) // most)]
        found = list[Evidence]()
        for start in range(0, len(stops), AT_ONCE):
            some = stops[start : start + AT_ONCE]
            with ExitStack() as stack:
                settings = [stack.enter_context(place.setting(**options)) for _ in some]
                found += lines.killed(story, settings, some, place.settled)
            log(f"{name}: {start + len(some)}/{len(stops)} kills at lines")
        report[name] = {"lines": len(counts), "lines_executed": sum(counts.values()), **summarize(found)}
    return report


def stop_workers(place: Place, count: int, seed: int) -> dict[str, Any]:
    """Stop workers past their lease, or past their migration."""
    chance = random.Random(seed)
    past, other = list[Evidence](), list[Evidence]()
    for number in range(count):
        stop, share = chance.randrange(10), chance.choice([0.6, 1.0])
        with place.setting(items=60, forward=number % 2 == 1) as setting:
            past.append(zombies.lease(setting, stop, f"{seed}.{number}", share))
        with place.setting(items=60) as setting:
            other.append(zombies.replanned(setting, stop, chance.choice([0.0, 0.5, 1.0])))
    return {"past_their_lease": summarize(past), "of_a_migration_rolled_back": summarize(other)}


def run_controls(place: Place, rounds: int, seed: int) -> dict[str, Any]:
    """Count the rounds of each broken engine rejected by the checker, and the reasons."""
    report = {}
    for name in CONTROLS:
        found = list[Evidence]()
        for number in range(rounds):
            with place.setting() as setting:
                chance = random.Random(f"{seed}.{number}")
                broken = control(name, setting)
                found.append(moments.measured(broken, chance, place.settled, f"{seed}.{number}"))
        kinds = Counter(one.kind for its in found for one in its.answers + its.store)
        report[name] = {
            "rounds": rounds,
            "rejected": sum(bool(its.answers or its.store) for its in found),
            "kinds": dict(kinds),
        }
    return report


def unsynced(place: Place, rounds: int, seed: int) -> dict[str, Any]:
    """Count the rejected recordings of engines syncing too little, which lose acknowledged writes."""
    report = {}
    for name in power.CONTROLS:
        runs = [power.losses(place, power.CROWD, LOSSES, f"{seed}.{number}", name) for number in range(rounds)]
        wrong = [[one for its in found for one in its.answers + its.store] for found in runs]
        kinds = Counter(one.kind for some in wrong for one in some)
        report[f"synchronous={name}"] = {"rounds": rounds, "rejected": sum(map(bool, wrong)), "kinds": dict(kinds)}
    return report


def measure(store: str, kills: int, seed: int, most: int) -> dict[str, Any]:
    """Inject all faults; fewer kills, less of the rest, and at lines at most this many of each step."""
    started = time.monotonic()
    share = min(kills / 1000, 1.0)
    report: dict[str, Any] = {"store": store, "seed": seed}
    with PLACES[store]() as place:
        report["random_moments"] = random_moments(place, kills, seed)
        report["stopped"] = stop_workers(place, max(round(20 * share), 2), seed)
        report["broken_engines"] = run_controls(place, max(round(ROUNDS * share), 1), seed)
        log("curves")
        for name, learns in (("curve", False), ("curve_learning_on_the_way", True)):
            with place.setting() as setting:
                report[name] = curve.measured(setting, random.Random(seed), place.settled, learns)
        if store == "sqlite":
            found = []
            for room in ROOMS[:: 1 if share == 1 else len(ROOMS)]:
                with place.setting() as setting:
                    found.append(full.measured(setting, room * 1024))
            report["disk_full"] = summarize(found)
            log("losses of power")
            report["broken_engines"] |= unsynced(place, max(round(ROUNDS * share), 1), seed)
            lost = {"init": beginnings.losses(place, kills // 10, seed), **power.measured(place, kills, seed)}
            report["losses_of_power"] = {name: summarize(its) for name, its in lost.items()}
        report["every_line"] = every_line(place, most if share == 1 else max(round(50 * share), 2))
    report["failures"] = failures(report)
    report["seconds"] = round(time.monotonic() - started, 1)
    return report


def failures(report: Any) -> int:
    """List all violations."""
    if not isinstance(report, dict):
        return 0
    found = sum(failures(value) for name, value in report.items() if name != "broken_engines")
    for name in ("wrong_in_store", "wrong_in_answers"):
        found += sum(report.get(name, {}).values())
    for name in ("redone_beyond_what_was_in_flight", "unanswered", "query_processes_failed"):
        found += report.get(name, 0)
    found += sum(its["rounds"] - its["rejected"] for its in report.get("broken_engines", {}).values())
    return int(found + (report.get("largest_difference", 0.0) > 1e-6))


def main() -> None:
    """Command line of `python -m benchmarks.faults`."""
    parser = command_parser("benchmarks.faults", __doc__)
    parser.add_argument("--store", choices=sorted(PLACES), default="sqlite", help="kind of store (default sqlite)")
    parser.add_argument(
        "--kills", type=int, default=1000, help="kills at random moments, and power losses (default 1000)"
    )
    parser.add_argument(
        "--lines", type=int, default=10**9, help="largest number of kills at lines of each step (default all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments and of the writes")
    parser.add_argument("-o", "--output", required=True, help="JSON file of the report")
    with exit_on_input_error():
        own = parser.parse_args()
        if own.kills < 1:
            raise InputError(f"kills: {own.kills}, expected at least 1")
        if own.lines < 1:
            raise InputError(f"lines: {own.lines}, expected at least 1")
        from benchmarks.artifacts.record import provenance
        from benchmarks.perf.apart import one_thread

        one_thread()
        report = {**measure(own.store, own.kills, own.seed, own.lines), **provenance()}
        replace(Path(own.output), lambda file: file.write_text(json.dumps(report, indent=1) + "\n"))
        print(f"{report['failures']} failures")
    sys.exit(1 if report["failures"] else 0)


if __name__ == "__main__":
    main()
