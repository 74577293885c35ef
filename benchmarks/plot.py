"""Draw the backfill curves of a benchmark's results. Needs no torch."""

from __future__ import annotations

import argparse

from compat.errors import InputError, exit_on_input_error
from compat.plot import plot_cost, plot_curves, plot_multiples, plot_sequence
from compat.results import METRICS, load_upgrades, select


def main() -> None:
    """Command line of `python -m benchmarks.plot`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("folder", help="results/<benchmark>")
    parser.add_argument("-o", "--output", required=True, help="image file: .png, .pdf or .svg")
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=list(METRICS),
        default=["mean_ap", "cmc_1"],
        help="one panel each; of a sequence, and with --by, the first alone",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="FIELD=VALUE", help="which results: method=rqt,fct")
    parser.add_argument("--by", choices=["order", "merge"], help="one panel for each order or merge rule")
    parser.add_argument("--cost", action="store_true", help="the area under the mAP curve against training seconds")
    arguments = parser.parse_args()
    with exit_on_input_error():
        upgrades = load_upgrades(arguments.folder).values()
        first, *seconds = (select(results, arguments.only) for results in upgrades)
        if arguments.cost:
            figure = plot_cost(first)
        elif arguments.by:
            figure = plot_multiples(first, arguments.by, arguments.metrics[0])
        elif seconds:
            figure = plot_sequence(first, seconds, arguments.metrics[0])
        else:
            figure = plot_curves(first, arguments.metrics)
        try:
            figure.savefig(arguments.output, dpi=150)
        except (OSError, ValueError) as error:
            raise InputError(f"output: {arguments.output} ({error}), expected a file that can be written") from error
        print(f"The plot is in {arguments.output}")


if __name__ == "__main__":
    main()
