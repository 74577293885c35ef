"""Compare methods over the results of several data sets: the size of each difference. Needs no torch.

    compat-bench rank results/fashion_mnist results/omniglot
    compat-bench rank results/a results/b --only order=random merge=raw -o ranks.json --plot ranks.png
    compat-bench rank results/a results/b --against independent --fixed

`compat/ranks.py` says how; a document has such a table at `<!-- ranks: FOLDER FOLDER ... [label=value ...] -->`, see
`compat-bench table`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.plot import save
from benchmarks.tables.ranks import LEGEND, narrow, plain, ranking, table
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace
from compat.plots.ranks import plot_ranks


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.rank`."""
    parser = command_parser("benchmarks.rank", __doc__)
    parser.add_argument("folders", nargs="+", metavar="folder", help="results/<benchmark>, two or more")
    what = "what methods are compared by, such as auc, flips or mrr (default relative_gain)"
    parser.add_argument("--metric", default="relative_gain", help=what)
    parser.add_argument("--against", metavar="METHOD", help="row to which differences are (default the best)")
    parser.add_argument("--fixed", action="store_true", help="intervals for these data sets, instead of drawing them")
    parser.add_argument("--only", nargs="+", default=[], metavar="LABEL=VALUE", help="select results: order=random")
    parser.add_argument("--wide", action="store_true", help="with the inputs of methods, as Markdown")
    parser.add_argument("-o", "--output", metavar="FILE", help="all figures as JSON")
    parser.add_argument("--plot", metavar="FILE", help="plot each folder's figures: .png, .pdf or .svg")
    return parser


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.rank`."""
    broken: list[str] = []
    with exit_on_input_error(broken):
        arguments = parser().parse_args(given)
        found = ranking(arguments.folders, arguments.only, arguments.metric, broken, arguments.against, arguments.fixed)
        print(f"{table(found) if arguments.wide else narrow(found)}\n\n{LEGEND}")
        try:
            if arguments.output:
                text = json.dumps(plain(found), indent=1)
                replace(Path(arguments.output), lambda file: file.write_text(f"{text}\n"))
                print(f"The figures are in {arguments.output}")
            if arguments.plot:
                save(plot_ranks(found), arguments.plot)
                print(f"The plot is in {arguments.plot}")
        except (OSError, ValueError) as error:
            raise InputError(f"output: {error}, expected a writable file") from error


if __name__ == "__main__":
    main()
