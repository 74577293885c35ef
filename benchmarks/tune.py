"""Tune the arguments of every method on held-out training images, with equal numbers of trials.

    compat-bench tune omniglot --methods=methods/compared \\
        --space tuning --trials 5 -o results/tuning/omniglot.json --write configs/tuned/omniglot.yaml
    compat-bench run omniglot --config tuned/omniglot

A quarter of the training images is queries and gallery; everything, including the old and the new model, is trained on
the rest. The benchmark's own gallery is never looked at. SPACE has the range of each argument of each method:

    ract:
      weight: {low: 0.1, high: 3.0, log: true}
      negatives: {choices: [1, 10, 100]}

The first trial has the config's arguments, Optuna (TPE) proposes the others; the trial with the largest area
under the mAP curve, in random order under raw distances, is chosen. A method without a range has the first trial alone.
Of five, four are drawn at random. Finished trials are found again in the run folder, and several processes, each with
other methods (--only), may write into one file; trials of other models or in another number are not mixed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from benchmarks.config.named import add_config, layers, locate
from benchmarks.config.parse import parse, read_plain
from benchmarks.config.schema import Experiment
from benchmarks.tables.effort import read
from compat.command import GO_ON, command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace


def tune(
    experiment: Experiment, space: dict[str, Any], trials: int, path: Path | None = None
) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Run the trials; return the request of each method, and each method's trials with the chosen one.

    Args:
        experiment: its config.
        space: method -> argument -> range.
        trials: of each method.
        path: a file of trials to add to.

    Raises:
        InputError: a space that does not fit the methods, or a file of other trials.
    """
    from benchmarks.artifacts.record import provenance
    from benchmarks.jobs.trials import Tuner, spaces

    if trials < 1:
        raise InputError(f"trials: {trials}, expected at least 1")
    found = spaces(experiment, space)
    there = read(path)["asked"] if path is not None else None
    tuner = Tuner(experiment)
    asked = {"trials": trials, "models": tuner.models}
    if there not in (None, asked):
        raise InputError(f"output: {path} has trials of {there}, expected of {asked}, or another file")
    made_by = provenance()
    for name, distributions in found.items():
        made = []
        for one in tuner.study(name, distributions, trials):
            made.append(one)
            outcome = one.error or f"AUC {100 * (one.area or 0):.2f} %"
            print(f"{name} {json.dumps(one.init_args)}: {outcome}", flush=True)
        best = max(made, key=lambda one: -1.0 if one.area is None else one.area)
        content = {
            "space": space.get(name, {}),
            "trials": [one._asdict() for one in made],
            "chosen": best.init_args,
            "failed": best.area is None,
            "seconds": round(sum(one.seconds for one in made), 2),
            "spec": experiment.methods[name].having(**best.init_args).content,
            "made": {part: made_by[part] for part in ("git_commit", "hardware", "date")},
        }
        yield asked, name, content


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.tune`."""
    parser = command_parser("benchmarks.tune", __doc__)
    add_config(parser)
    parser.add_argument("--space", required=True, help="YAML: method -> argument -> range")
    parser.add_argument("--trials", type=int, default=5, help="trials of each method (default 5)")
    parser.add_argument("-o", "--output", required=True, help="JSON file of the trials and choices")
    parser.add_argument("--write", metavar="YAML", help="YAML file of the chosen methods, an overlay for the config")
    return parser


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.tune`."""
    with exit_on_input_error(again=GO_ON):
        own, overrides = parser().parse_known_args(given)
        experiment, failed = parse(layers(own), overrides), False
        try:
            for asked, name, found in tune(experiment, read_plain(locate(own.space)), own.trials, Path(own.output)):
                methods = add(Path(own.output), asked, name, found)
                if own.write:
                    lay(Path(own.write), methods, layers(own))
                failed |= found["failed"]
        except OSError as error:
            raise InputError(f"output: {error}, expected writable files") from error
        if failed:
            sys.exit(1)


def add(path: Path, asked: dict[str, Any], name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Add a method's trials to the file, beside those of others, and return all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        methods = {**read(path)["methods"], name: found}
        content = {"asked": asked, "methods": methods}
        replace(path, lambda file: file.write_text(text_of(content)))
    return methods


def text_of(content: dict[str, Any]) -> str:
    """Format JSON with a line for each method."""
    methods = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in content["methods"].items())
    return f'{{"asked": {json.dumps(content["asked"])}, "methods": {{\n{methods}\n}}}}\n'


def lay(path: Path, methods: dict[str, Any], configs: list[str]) -> None:
    """Write the methods with their chosen arguments, as a config to overlay on the benchmark's."""
    first, *others = configs
    layers = " ".join(f"--config {one}" for one in [*others, str(path)])
    head = f"# compat-bench run {first} {layers} --name={Path(first).stem}_tuned\n"
    head += "# The arguments that benchmarks.tune chose on held-out training images.\n"
    specs = {"methods": {name: found["spec"] for name, found in methods.items() if not found["failed"]}}
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, lambda file: file.write_text(head + yaml.safe_dump(specs, sort_keys=False)))


if __name__ == "__main__":
    main()
