"""Measure the speed of the replay, of its lower bound and of public code's approach, side by side in one run.

    python -m benchmarks.perf.speed            # some minutes; --quick within one, on small data
    python -m benchmarks.perf.speed --device cuda

Contenders are timed in turn, round after round, and medians are given; peak memory is that of a process of its own,
above its embeddings. What takes minutes is timed on a part and multiplied, and marked so: re-ranking costs the same
at every completion ratio, and the scikit-learn loop the same for every query. The file keeps the figures of other
processors.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.artifacts.record import git_commit, hardware, versions
from benchmarks.perf.contenders import (
    CHUNK,
    CHUNKED,
    CONTENDERS,
    ENGINE,
    LIMIT,
    LOOP,
    NAIVE,
    engine,
    judged,
    loop,
    make,
    products,
    rerank,
)
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace
from compat.merge import QueryZScore

ROUNDS = 5


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time each call in each round, after an uncounted one."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def peak_memory(contenders: list[str], size: tuple[int, int, int, int], device: str) -> dict[str, int | None]:
    """Return each contender's bytes above its embeddings, in a process of its own; None where unknown."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(torch.set_num_threads, torch.get_num_threads()).result()
        return {name: pool.submit(_peak_memory, name, size, device).result() for name in contenders}


def _peak_memory(contender: str, size: tuple[int, int, int, int], device: str) -> int | None:
    engine(make(100, 100, 8, 4, device))  # compiled code and libraries are not counted
    e = make(*size, device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        CONTENDERS[contender](e)
        return torch.cuda.max_memory_allocated() - before
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten (Linux)
        before = _status("VmRSS")
        CONTENDERS[contender](e)
        return _status("VmHWM") - before
    except OSError:
        return None


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field)))


def measure(quick: bool, device: str) -> dict[str, Any]:
    """Measure all figures."""
    side, loops, rounds = (2000, 50, 3) if quick else (10_000, 100, ROUNDS)
    size = (side, side, 128, 100)
    e, few = make(*size, device), make(side, side, 128, side // 20, device)
    marked = judged(few)
    print(f"{side} queries x {side} items x 128, 100 classes, on {_device(device)}")
    timed = in_turn(
        {
            "engine, 11 points": lambda: engine(e, 11),
            "engine, 101 points": lambda: engine(e, 101),
            "engine, 11 points, 5 orders": lambda: engine(e, 11, 5),
            "engine, 101 points, 5 orders": lambda: engine(e, 101, 5),
            "engine, 11 points, QueryZScore": lambda: engine(e, 11, merge=QueryZScore()),
            "engine, 101 points, QueryZScore": lambda: engine(e, 101, merge=QueryZScore()),
            "engine, 101 points, 20 items of each label": lambda: engine(few),
            "engine, 101 points, 20 judged items a query": lambda: engine(marked),
            LIMIT: lambda: products(e),
            f"{LOOP}, {loops} queries": lambda: loop(e, 0.5, loops),
        },
        rounds,
    )
    naive_calls = {NAIVE: lambda: rerank(e, [0.5]), CHUNKED: lambda: rerank(e, [0.5], CHUNK)}
    timed |= in_turn({f"{name}, 1 point": call for name, call in naive_calls.items()}, min(rounds, 3))
    median = {name: statistics.median(seconds) for name, seconds in timed.items()}
    for points in (11, 101):
        for name in (NAIVE, CHUNKED):
            median[f"{name}, {points} points (multiplied)"] = points * median[f"{name}, 1 point"]
        each = median[f"{LOOP}, {loops} queries"] * side / loops
        median[f"{LOOP}, {points} points (multiplied)"] = points * each
    ratios = between(median)
    ratios["largest difference of mAP to re-ranking"] = float(np.abs(engine(e, 3)[1] - rerank(e, [0.5])[0]))
    memory = peak_memory(list(CONTENDERS), size, device)
    growth = grow(quick, device)
    if not quick:
        large = (50_000, 50_000, 128, 1000)
        big = make(*large, device)
        seconds = in_turn({"large": lambda: engine(big)}, 1)["large"]
        median["engine, 101 points, 50,000 x 50,000"] = seconds[0]
        ratios["50,000 x 50,000 / 10,000 x 10,000"] = seconds[0] / median["engine, 101 points"]
        memory["engine, 50,000 x 50,000"] = peak_memory([ENGINE], large, device)[ENGINE]
    return {
        "size": dict(zip(("queries", "items", "dimension", "classes"), size, strict=True)),
        "device": _device(device),
        "threads": torch.get_num_threads(),
        "seconds": timed,
        "median_seconds": median,
        "ratios": ratios,
        "peak_memory_bytes": memory,
        "growth_seconds": growth,
        "versions": versions(),
        "git_commit": git_commit(),
        "hardware": hardware(),
    }


def between(median: dict[str, float]) -> dict[str, float]:
    """Return ratios of the engine to its lower bound, to itself with more work, and to other ways."""
    engines = {points: median[f"engine, {points} points"] for points in (11, 101)}
    ratios = {
        "101 points / matrix products": engines[101] / median[LIMIT],
        "101 points / 11 points": engines[101] / engines[11],
    }
    for points, seconds in engines.items():
        ratios[f"5 orders / 1 order, {points} points"] = median[f"engine, {points} points, 5 orders"] / seconds
        standardised = median[f"engine, {points} points, QueryZScore"]
        ratios[f"QueryZScore / raw distances, {points} points"] = standardised / seconds
    judgements, labels = (
        median[f"engine, 101 points, 20 {of}"] for of in ("judged items a query", "items of each label")
    )
    ratios["judgements / labels, 20 items"] = judgements / labels
    for name, way in {"re-ranking": NAIVE, "re-ranking in chunks": CHUNKED, "scikit-learn loop": LOOP}.items():
        for points, seconds in engines.items():
            ratios[f"{name} / engine, {points} points"] = median[f"{way}, {points} points (multiplied)"] / seconds
    return ratios


def grow(quick: bool, device: str) -> dict[str, dict[str, float]]:
    """Return median seconds of the engine as one size grows: queries x items, positives a query, points, orders."""
    side = 1000 if quick else 5000
    e = make(side, side, 128, 100, device)
    calls: dict[str, Callable[[], Any]] = {}
    for factor in (1, 2, 4):
        square = make(side * factor, side * factor, 128, side * factor // 50, device)
        calls[f"queries x items|{side * factor} x {side * factor}"] = partial(engine, square)
    for classes in (side // 10, side // 100, 5):
        classed = make(side, side, 128, classes, device)
        calls[f"positives|{side // classes}"] = partial(engine, classed)
    for points in (11, 101, 1001):
        calls[f"points|{points}"] = partial(engine, e, points)
    for orders in (1, 2, 5):
        calls[f"orders|{orders}"] = partial(engine, e, 11, orders)
    found: dict[str, dict[str, float]] = {}
    for name, seconds in in_turn(calls, 1 if quick else 3).items():
        group, value = name.split("|")
        found.setdefault(group, {})[value] = statistics.median(seconds)
    return found


def _device(device: str) -> str:
    found = hardware()
    return str(found["gpu"]) if device != "cpu" else f"{found['cpu']}, {torch.get_num_threads()} threads"


def table(found: dict[str, Any]) -> str:
    """Format the result of `measure` as Markdown."""
    median, memory = found["median_seconds"], found["peak_memory_bytes"]
    lines = [f"### {found['device']}", "", "| | seconds | peak memory (MiB) |", "| --- | --: | --: |"]
    for name, seconds in median.items():
        place = next((key for key in sorted(memory, key=len, reverse=True) if _is_of(name, key)), None)
        space = "" if place is None or memory[place] is None else f"{memory[place] / 2**20:,.0f}"
        lines.append(f"| {name} | {seconds:,.2f} | {space} |")
    lines += ["", "| ratio | |", "| --- | --: |"]
    lines += [f"| {name} | {value:.3g} |" for name, value in found["ratios"].items()]
    lines += ["", "| seconds as it grows | | | |", "| --- | --: | --: | --: |"]
    for name, values in found["growth_seconds"].items():
        lines.append(f"| {name} | " + " | ".join(f"{value}: {seconds:.2f}" for value, seconds in values.items()) + " |")
    return "\n".join(lines)


def _is_of(name: str, contender: str) -> bool:
    """Whether a row shows a contender's memory: at 101 points, or at one where all are alike."""
    if contender == ENGINE:
        return name == "engine, 101 points"
    if contender.startswith(ENGINE):
        return name.endswith("50,000 x 50,000")
    return name == contender or (name.startswith(contender) and "multiplied" not in name)


def read(path: Path) -> dict[str, Any]:
    """Read the figures by processor.

    Raises:
        InputError: another file.
    """
    try:
        measured = json.loads(path.read_text())
        if all(device == found["device"] for device, found in measured.items()):
            return measured
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise InputError(f"output: {path} is not a file of figures by processor, expected one or a new file")


def main() -> None:
    """Command line of `python -m benchmarks.perf.speed`."""
    parser = command_parser("benchmarks.perf.speed", __doc__)
    parser.add_argument("--quick", action="store_true", help="small data, within a minute")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "-o", "--output", default="speed.json", help="JSON file of the figures by processor (default speed.json)"
    )
    with exit_on_input_error():
        arguments = parser.parse_args()
        if arguments.device != "cpu" and not torch.cuda.is_available():
            raise InputError(f"device: {arguments.device}, but torch finds no GPU, expected cpu")
        path = Path(arguments.output)
        measured = read(path) if path.exists() else {}
        found = measure(arguments.quick, arguments.device)
        measured[found["device"]] = found
        replace(path, lambda file: file.write_text(json.dumps(measured, indent=1) + "\n"))
        print(table(found))
        print(f"\nThe figures are in {path}")


if __name__ == "__main__":
    main()
