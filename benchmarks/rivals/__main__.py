"""Measure public tools for upgrades of embeddings beside this project's methods, on the same matrices.

    python -m benchmarks.rivals FOLDER... -o results/rivals
    python -m benchmarks.rivals FOLDER... --only compat-bench embedflow -o results/rivals

Each folder has the matrices of one pair of models (`benchmarks/rivals/pair.py`) and gives one file of results. Each
tool is installed by pip into an environment of its own and driven in its own process. A tool that cannot be installed,
crashes or does not end in time gets a row that says so. Then write the tables: `compat-bench table --write
results/rivals.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.embeddings.arguments import check_folder
from benchmarks.rivals.tools import Tool, chosen, names
from compat.command import Parser, command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace


def parser() -> Parser:
    """The command line of `python -m benchmarks.rivals`."""
    parser = command_parser("benchmarks.rivals", __doc__)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="matrices of a pair of models")
    what = f"tools to run again (default all: {', '.join(names())}); rows of the others are kept"
    parser.add_argument("--only", nargs="+", default=[], metavar="TOOL", help=what)
    parser.add_argument("--queries", type=int, metavar="N", help="use at most N queries, drawn with a fixed seed")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of a tool on a pair (default 600)")
    note = "folder of the tools' environments (default runs/rivals)"
    parser.add_argument("--environments", default="runs/rivals", metavar="FOLDER", help=note)
    parser.add_argument("-o", "--output", required=True, help="folder of the results")
    return parser


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.rivals`."""
    with exit_on_input_error():
        arguments = parser().parse_args(given)
        tools = chosen(arguments.only)
        for name in ("queries", "limit"):
            if (value := getattr(arguments, name)) is not None and value <= 0:
                raise InputError(f"{name}: {value:g}, expected more than 0")
        folders = [Path(folder) for folder in arguments.folders]
        called = [folder.resolve().name for folder in folders]
        if twice := [name for name in called if called.count(name) > 1]:
            raise InputError(f"folder: two named {twice[0]}, expected different names, as results are named by them")
        check_folder(Path(arguments.output))
        from benchmarks.rivals.pair import read_pair  # imports torch: after all other checks

        pairs = [read_pair(folder, arguments.queries) for folder in folders]
        for pair in pairs:
            file = Path(arguments.output) / f"{pair.name}.json"
            for line in measure(pair, tools, file, Path(arguments.environments), arguments.limit):
                print(line, flush=True)


def measure(pair: Any, tools: Sequence[Tool], file: Path, environments: Path, limit: float) -> Iterator[str]:
    """Measure tools on a pair, write the results after each, and yield a line for each row."""
    from benchmarks.artifacts.record import provenance
    from benchmarks.rivals.drive import drive
    from benchmarks.rivals.measure import ORDERS, POINTS, Comparison, as_json

    comparison = Comparison(pair)
    about = {
        "pair": pair.name,
        "digest": pair.digest,
        "queries": len(pair.plain.query_old),
        "items": len(pair.plain.gallery_old),
        "dimensions": [pair.plain.gallery_old.shape[1], pair.plain.gallery_new.shape[1]],
        "training_pairs": len(pair.train_old),
        "own_pairs": pair.own_pairs,
        "judged": pair.plain.relevance is not None,
        "orders": ORDERS,
        "progress": POINTS.round(6).tolist(),
        "systems": comparison.systems,
        "provenance": provenance(),
    }
    rows = kept(file, about, {tool.name for tool in tools})
    for tool in tools:
        for row in comparison.rows(tool, drive(tool, pair, environments, limit)):
            rows.append(as_json(row))
            yield f"{pair.name}: {tool.name} {row.way}: {row.failure or 'measured'}"
        rows.sort(key=lambda row: names().index(row["tool"]))
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, {**about, "rows": rows})


def write(file: Path, found: dict[str, Any]) -> None:
    """Write results as JSON, a line for each row."""
    rows = ",\n".join(map(json.dumps, found["rows"]))
    about = "".join(f"{json.dumps(name)}: {json.dumps(value)},\n" for name, value in found.items() if name != "rows")
    replace(file, lambda path: path.write_text(f'{{{about}"rows": [\n{rows}\n]}}\n'))


def kept(file: Path, about: dict[str, Any], again: set[str]) -> list[dict[str, Any]]:
    """Return the rows of the other tools in a file of results of the same matrices."""
    try:
        before = json.loads(file.read_text())
        same = all(before[name] == about[name] for name in ("digest", "queries", "orders", "progress"))
        others = set(names()) - again
        return [row for row in before["rows"] if row["tool"] in others] if same else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


if __name__ == "__main__":
    main()
