"""Write the results page: every result of a folder of benchmarks in one HTML file. Needs no torch, no server.

compat-bench page results/ -o site/
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page.build import build
from benchmarks.page.gather import gather
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.page`."""
    parser = command_parser("benchmarks.page", __doc__)
    parser.add_argument("results", help="results, or results/<benchmark>")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder of index.html")
    return parser


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.page`."""
    broken: list[str] = []
    warnings.filterwarnings("ignore", "relative gain is undefined")  # the page says so where it is
    with exit_on_input_error(broken):
        arguments = parser().parse_args(given)
        path = Path(arguments.output, "index.html")
        documents = "docs/index.html" if path.with_name("docs").joinpath("index.html").exists() else ""
        text = build(gather(arguments.results, broken), documents)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, lambda file: file.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise InputError(f"output: {path} ({error.strerror or error}), expected a writable folder") from error
        print(f"The page is at {path} ({len(text.encode()) / 1e6:.1f} MB): open it in a browser")


if __name__ == "__main__":
    main()
