"""Print the results of benchmarks, or write them as Markdown tables into documents. Needs no torch.

    compat-bench table results/digits
    compat-bench table results/tiny_imagenet_methods --only order=random merge=raw --wide
    compat-bench table results/digits --wide --items 1000000
    compat-bench table results/tiny_imagenet_methods --compare rqt independent
    compat-bench table results/digits_tuned results/omniglot_tuned --harm
    compat-bench table --write README.md results/every_method.md

In a document, the lines between `<!-- table: FOLDER [label=value ...] -->` and `<!-- end -->` are replaced by the table
of a folder; `items=N` stands for `--items N`, and `short` in place of `table` gives six columns.
`<!-- ranks: FOLDER FOLDER ... [label=value ...] -->` stands for the table of `compat-bench rank`, `harm` in place of
`ranks` for that of `--harm`, and `seen` puts folders of one data set side by side, the first with heads that see all
classes. FOLDER is relative to the document.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from benchmarks.tables.compare import compare
from benchmarks.tables.document import write
from benchmarks.tables.harm import harm_table
from benchmarks.tables.table import LEGEND, table, tables
from benchmarks.tables.terminal import narrow
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError, at_least_one


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.table`."""
    parser = command_parser("benchmarks.table", __doc__)
    parser.add_argument("folders", nargs="*", metavar="folder", help="results/<benchmark>")
    parser.add_argument("--only", nargs="+", default=[], metavar="LABEL=VALUE", help="select results: order=random")
    parser.add_argument("--wide", action="store_true", help="all columns, as Markdown")
    parser.add_argument("--items", type=int, metavar="N", help="gain at equal seconds for a gallery of N items")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="whether row A beats row B, over queries")
    parser.add_argument("--harm", action="store_true", help="runs of all folders below the old system, by method")
    parser.add_argument("--write", nargs="+", default=[], metavar="DOCUMENT", help="rewrite the tables of documents")
    return parser


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.table`."""
    broken: list[str] = []
    with exit_on_input_error(broken):
        arguments = parser().parse_args(given)
        if not arguments.folders and not arguments.write:
            raise InputError("folder: none, expected results/<benchmark>, or --write DOCUMENT")
        at_least_one(items=arguments.items)
        if arguments.items and not arguments.wide:
            raise InputError("items: without --wide, expected both, as the other table has no gain at equal seconds")
        for document in arguments.write:
            write(document, broken)
            print(f"The tables of {document} are written")
        if arguments.harm:
            print(harm_table(arguments.folders, arguments.only, broken, terminal=not arguments.wide))
            return
        for folder in arguments.folders:
            if arguments.compare:
                one, other = arguments.compare
                print(compare(folder, one, other, arguments.only, broken))
            else:
                draw = partial(table, items=arguments.items) if arguments.wide else narrow
                print(f"{tables(folder, arguments.only, draw, broken)}\n\n{LEGEND}\n")


if __name__ == "__main__":
    main()
