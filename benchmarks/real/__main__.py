"""Upgrades of real pretrained models on public data.

    python -m benchmarks.real make cranfield-use-minilm --sources clones -o runs/real
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.real.pairs import PAIRS
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError

NAMES = {pair.name: pair for pair in PAIRS}


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.real`."""
    parser = command_parser("benchmarks.real", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="embed public data by both models of upgrades, and write the matrices")
    make.add_argument("pairs", nargs="*", metavar="PAIR", help=f"some of {', '.join(NAMES)} (default all)")
    make.add_argument("--sources", required=True, help="folder with clones of the public repositories")
    make.add_argument("-o", "--output", required=True, help="folder of the environments, embeddings and matrices")
    return parser


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.real`."""
    with exit_on_input_error():
        arguments = parser().parse_args(given)
        for name in arguments.pairs:
            if name not in NAMES:
                raise InputError(f"pairs: {name!r}, expected some of {', '.join(NAMES)}")
        from benchmarks.real.make import make

        for name in arguments.pairs or NAMES:
            print(make(NAMES[name], Path(arguments.sources), Path(arguments.output)), flush=True)


if __name__ == "__main__":
    main()
