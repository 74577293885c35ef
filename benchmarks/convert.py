"""Convert results of earlier versions, one JSON file each, into a folder with a line each.

python -m benchmarks.convert OLD NEW     # OLD: a benchmark's folder, or the folder of all
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.experiment.earlier import brief, needs, present
from compat.command import Parser, exit_on_input_error
from compat.errors import InputError
from compat.results import Result, collect, layout_1, queries


def convert(old: str | Path, new: str | Path) -> list[Path]:
    """Write each benchmark's results into a folder of the same name; areas of queries as means over seeds.

    Returns:
        The folders written.

    Raises:
        InputError: no result there, or one that cannot be read.
    """
    old, new = Path(old), Path(new)
    if layout_1.files(old):
        folders = {new: old}
    else:
        folders = {new / path.name: path for path in sorted(old.glob("*")) if layout_1.files(path)}
    if not folders:
        raise InputError(f"{old}: no results, expected a folder of <method>-s<seed>.json files, or of such folders")
    for target, folder in folders.items():
        experiment = layout_1.load_experiment(folder)
        experiment["config"] = present(experiment["config"])
        results = [now(result, experiment["config"]) for result in layout_1.load_results(folder)]
        collect(target, results, layout_1.load_query_areas(folder), experiment)
        queries.condense(target)
    return list(folders)


def now(result: Result, config: dict[str, Any]) -> Result:
    """A result with its method and its needs as this version would write them."""
    result = replace(result, spec=brief(result.spec))
    return replace(result, needs=needs(result, config))


def main() -> None:
    """Command line of `python -m benchmarks.convert`."""
    assert __doc__
    head, usage = __doc__.split("\n\n", 1)
    parser = Parser(
        prog="python -m benchmarks.convert",
        description=head,
        epilog=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", help="results of earlier versions")
    parser.add_argument("new", help="folder of the results, results/<benchmark> or results")
    arguments = parser.parse_args()
    with exit_on_input_error():
        for folder in convert(arguments.old, arguments.new):
            print(f"Results are in {folder}")


if __name__ == "__main__":
    main()
