"""Does a report made from half of the queries agree with the other half? Measured on files of `benchmarks.export`.

    python -m benchmarks.perf.report_agreement digits_0.safetensors digits_1.safetensors tiny_0.safetensors \\
        -o results/report_agreement.json

Each file is an upgrade, from its old model to its new one. Of files with the same gallery, seeds of one config, two
more are made: from the new model of one seed to that of the other, which brings nothing but chance; and from the first
one's new model back to its old one, which harms.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.embeddings.arguments import ARRAYS, check_folder
from benchmarks.report import __main__ as command
from benchmarks.report import gallery
from benchmarks.report.from_embeddings import try_ways
from benchmarks.report.inputs import Inputs
from compat.command import command_parser, exit_on_input_error
from compat.decision import choose, decide, hardly
from compat.decision.agreement import agreement
from compat.errors import InputError
from compat.files import replace

SPLITS = 20


def upgrades(files: list[Path]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Return the upgrades of the files, by their names.

    Raises:
        InputError: a file not written by `benchmarks.export`.
    """
    first: dict[str, dict[str, Tensor]] = {}  # of each gallery
    seeds: set[str] = set()
    for path in files:
        tensors = read(path)
        yield path.stem, tensors
        name = next((other for other, known in first.items() if same_gallery(known, tensors)), None)
        if name is None:
            first[path.stem] = tensors
            continue
        yield f"new model of {name} to that of {path.stem}", rotate(first[name], "new", tensors, "new")
        if name not in seeds:
            yield f"{name} backwards", rotate(first[name], "new", first[name], "old")
        seeds.add(name)


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file.

    Raises:
        InputError: it cannot be read, or lacks one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"file: {path} ({error}), expected a file of benchmarks.export") from error
    missing = [name for name in ARRAYS if name not in tensors]
    if missing:
        raise InputError(f"file: {path} has no {missing[0]}, expected a file of benchmarks.export")
    return {name: tensors[name] for name in ARRAYS}


def same_gallery(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two files are of the same queries and items."""
    return all(torch.equal(a[name], b[name]) for name in ARRAYS[4:])


def rotate(a: dict[str, Tensor], of_a: str, b: dict[str, Tensor], of_b: str) -> dict[str, Tensor]:
    """Return the upgrade from a model of one file to a model of another."""
    models = {f"{part}_old": a[f"{part}_{of_a}"] for part in ("query", "gallery")}
    models |= {f"{part}_new": b[f"{part}_{of_b}"] for part in ("query", "gallery")}
    return {**a, **models}


def measure(tensors: dict[str, Tensor], least: float) -> dict[str, Any]:
    """Return the decision on all queries of a report, and the agreement of their halves."""
    arguments = command.parser().parse_args(["--least-gain", str(least)])
    given = Inputs(dict(tensors), {}, True)
    seen = gallery.draw_sample(given, arguments.queries, arguments.items, arguments.seed)
    trial = try_ways(given, seen, arguments)
    efforts, ends = [way.effort for way in trial.ways], (trial.start, trial.end)
    decision = decide(*ends, least)
    found = agreement(trial.areas, efforts, ends, least, SPLITS)
    chosen = trial.ways[choose(trial.areas, efforts, hardly(*ends))]
    return {
        "queries": len(trial.rows),
        "items": len(trial.e.gallery_old),
        "ways": len(trial.ways),
        "old": round(float(np.mean(ends[0])), 4),
        "new": round(float(np.mean(ends[1])), 4),
        "gain": [round(value, 4) for value in decision.gain],
        "outcome": decision.outcome,
        "way": chosen.name,
        **{name: round(value, 4) for name, value in found._asdict().items()},
    }


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.perf.report_agreement`."""
    parser = command_parser("benchmarks.perf.report_agreement", __doc__)
    parser.add_argument("files", nargs="+", type=Path, help=".safetensors files written by benchmarks.export")
    parser.add_argument(
        "--least-gain", type=float, default=0.01, help="smallest gain of mAP worth an upgrade (default 0.01)"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("results/report_agreement.json"))
    return parser


def main() -> None:
    """Command line of `python -m benchmarks.perf.report_agreement`."""
    with exit_on_input_error():
        arguments = parser().parse_args()
        check_folder(arguments.output.parent)
        found = {}
        for name, tensors in upgrades(arguments.files):
            found[name] = measure(tensors, arguments.least_gain)
            print(name, json.dumps(found[name]), flush=True)
        text = json.dumps({"least_gain": arguments.least_gain, "upgrades": found}, indent=1) + "\n"
        replace(arguments.output, lambda path: path.write_text(text))


if __name__ == "__main__":
    main()
