"""Draw the backfill curves of a benchmark's results. Needs no torch.

compat-bench plot results/digits -o digits.png
compat-bench plot results/digits -o digits.png --metrics mean_ap ndcg_10 --highlight rqt ract
compat-bench plot results/digits -o digits_seconds.png --x seconds --items 1000000
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from benchmarks.tables.compare import upgrades_of
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError, at_least_one
from compat.plots.curves import PROGRESS, Axis, plot_cost, plot_curves, plot_multiples, plot_sequence
from compat.plots.errors import plot_errors
from compat.plots.spent import NAMES, spent_axis
from compat.results import Result, metrics_of
from compat.results.summaries import HEADLINE


def save(figure: Figure, output: str) -> None:
    """Write an image; a PNG with 96 colours, enough for a plot and a third of the size.

    Raises:
        OSError: the file cannot be written.
        ValueError: no such format.
    """
    if Path(output).suffix.lower() != ".png":
        figure.savefig(output)
        return
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=90)
    image = Image.open(drawn).convert("RGB").quantize(96, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(output, optimize=True)


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.plot`."""
    parser = command_parser("benchmarks.plot", __doc__)
    parser.add_argument("folder", help="results/<benchmark>")
    parser.add_argument("-o", "--output", required=True, help="image file: .png, .pdf or .svg")
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        help="one panel each (default mean_ap ndcg_10 cmc_1); only the first for a sequence or with --by",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="LABEL=VALUE", help="select results: method=rqt,fct")
    parser.add_argument("--by", metavar="LABEL", help="one panel for each order, merge, or value of another label")
    parser.add_argument(
        "--x", choices=("progress", *NAMES), default="progress", help="against what is spent, in place of progress"
    )
    parser.add_argument("--items", type=int, metavar="N", help="what is spent for a gallery of N items")
    parser.add_argument("--highlight", nargs="+", default=[], metavar="NAME", help="rows in colour, the rest in grey")
    parser.add_argument(
        "--cost", action="store_true", help="plot the area under the mAP curve against training seconds"
    )
    parser.add_argument("--errors", action="store_true", help="plot a world model's expected and observed errors")
    return parser


def axis_of(arguments: argparse.Namespace, upgrades: Sequence[Sequence[Result]]) -> Axis:
    """Return the horizontal axis asked for.

    Raises:
        InputError: what is spent, for another plot than curves, for a sequence, or where it was not measured; a size of
            the gallery with progress.
    """
    at_least_one(items=arguments.items)
    if arguments.x == "progress":
        if arguments.items:
            raise InputError(f"items: {arguments.items}, expected it with --x seconds or --x bytes")
        return PROGRESS
    if arguments.cost or arguments.errors:
        raise InputError(f"x: {arguments.x} with --{'cost' if arguments.cost else 'errors'}, expected one of them")
    if len(upgrades) > 1:
        raise InputError(f"x: {arguments.x} of a sequence, expected --only upgrade= and one upgrade")
    return spent_axis(upgrades[0], arguments.x, arguments.items)


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.plot`."""
    broken: list[str] = []
    with exit_on_input_error(broken):
        arguments = parser().parse_args(given)
        upgrades = list(upgrades_of(arguments.folder, arguments.only, broken).values())
        first = upgrades[0]
        rows, labels = {r.name for r in first} | {r.method for r in first}, first[0].labels
        for name in arguments.highlight:
            if name not in rows:
                raise InputError(f"highlight: {name!r}, expected some of {', '.join(sorted(rows))}")
        known = list(metrics_of(result for results in upgrades for result in results))
        metrics = arguments.metrics or [name for name in HEADLINE if name in known]
        for name in metrics:
            if name not in known:
                raise InputError(f"metrics: {name!r}, expected some of {', '.join(known)}")
        if arguments.by and arguments.by not in labels:
            raise InputError(f"by: {arguments.by!r}, expected one of {', '.join(labels)}")
        axis = axis_of(arguments, upgrades)
        if arguments.cost:
            figure = plot_cost(first, arguments.highlight)
        elif arguments.errors:
            figure = plot_errors(first, arguments.highlight)
        elif arguments.by:
            figure = plot_multiples(first, arguments.by, metrics[0], arguments.highlight, axis)
        elif len(upgrades) > 1:
            figure = plot_sequence(upgrades, metrics[0], arguments.highlight)
        else:
            figure = plot_curves(first, metrics, arguments.highlight, axis)
        try:
            save(figure, arguments.output)
        except (OSError, ValueError) as error:
            raise InputError(f"output: {arguments.output} ({error}), expected a writable file") from error
        print(f"The plot is in {arguments.output}")


if __name__ == "__main__":
    main()
