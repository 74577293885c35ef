"""Upgrades of real pretrained models on public data: the matrices, and a line of figures for each method.

python -m benchmarks.real make cranfield-use-minilm --sources clones -o runs/real
python -m benchmarks.real rows runs/real/cranfield-use-minilm -o results/real_models
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmarks.real.pairs import PAIRS, elsewhere
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace

NAMES = {pair.name: pair for pair in PAIRS}


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.real`."""
    parser = command_parser("benchmarks.real", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="embed public data by both models of upgrades, and write the matrices")
    make.add_argument("pairs", nargs="*", metavar="PAIR", help=f"some of {', '.join(NAMES)} (default all)")
    make.add_argument("--sources", required=True, help="folder with clones of the public repositories")
    make.add_argument("-o", "--output", required=True, help="folder of the environments, embeddings and matrices")
    rows = commands.add_parser("rows", help="replay upgrades by methods without labels")
    rows.add_argument("pairs", nargs="+", metavar="FOLDER", help="folders that `make` wrote")
    rows.add_argument("--methods", default="methods/label_free", help="a file of them (default methods/label_free)")
    rows.add_argument("--orders", type=int, default=2, help="random orders (default 2; online methods take one)")
    rows.add_argument("--queries", type=int, default=300, help="at most so many, drawn at random (default 300)")
    rows.add_argument("-o", "--output", required=True, help="results/NAME: gets NAME.json and NAME.jsonl.gz")
    return parser


def make(arguments: argparse.Namespace) -> None:
    """Write the matrices of some upgrades."""
    for name in arguments.pairs:
        if name not in NAMES:
            raise InputError(f"pairs: {name!r}, expected some of {', '.join(NAMES)}")
    from benchmarks.real.make import make

    for name in arguments.pairs or NAMES:
        print(make(NAMES[name], Path(arguments.sources), Path(arguments.output)), flush=True)


def rows(arguments: argparse.Namespace) -> None:
    """Replay some upgrades, and put their lines in place of those of the same upgrade, method and merge rule."""
    from benchmarks.config.parse import read_methods
    from benchmarks.config.spec import Spec
    from benchmarks.real.make import RECORD
    from benchmarks.real.matrices import load
    from benchmarks.real.rows import replay_all

    specs = {name: Spec(spec) for name, spec in read_methods(arguments.methods, Path()).items()}
    for folder in map(Path, arguments.pairs):
        upgrade = load(folder, arguments.queries)
        other = elsewhere(folder.name, [one.name for one in folder.parent.iterdir() if (one / RECORD).is_file()])
        found = list(replay_all(upgrade, specs, arguments.orders, load(folder.parent / other) if other else None))
        record = json.loads((folder / RECORD).read_text())
        record["metric"] = "ndcg_10" if upgrade.judged else "mean_ap"
        save(Path(arguments.output), folder.name, record, found)
        print(f"{folder.name}: {len(found)} lines", flush=True)


def save(target: Path, name: str, record: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """Put the lines and the record of one upgrade into both files."""
    records, lines = target.with_suffix(".json"), target.with_suffix(".jsonl.gz")
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        before = json.loads(records.read_text()) if records.is_file() else {}
        kept = {identity(line): line for line in (read_lines(lines) if lines.is_file() else [])}
        kept |= {identity(line): line for line in found}
        both = {**before, name: record}
        order = [one for one in NAMES if one in both] + sorted(both.keys() - NAMES.keys())
        text = "".join(f"{json.dumps(line)}\n" for one in order for line in kept.values() if line["pair"] == one)
        replace(lines, lambda path: path.write_bytes(gzip.compress(text.encode(), mtime=0)))
        replace(records, lambda path: path.write_text(json.dumps({one: both[one] for one in order}, indent=1) + "\n"))


def identity(line: dict[str, Any]) -> tuple[str, str, str, bool]:
    """Return what a line is of: upgrade, method, merge rule, and whether its pairs are of another data set."""
    return line["pair"], line["method"], line["merge"], "pairs_of" in line


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Read packed lines of JSON."""
    with gzip.open(file, "rt") as opened:
        return [json.loads(line) for line in opened]


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.real`."""
    with exit_on_input_error():
        arguments = parser().parse_args(given)
        (make if arguments.command == "make" else rows)(arguments)


if __name__ == "__main__":
    main()
