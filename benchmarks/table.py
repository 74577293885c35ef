"""Print the results of benchmarks as Markdown tables. Needs no torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from compat.errors import exit_on_input_error
from compat.results import Result, load_upgrades

COLUMNS: dict[str, Callable[[Result], float]] = {
    "AUC mAP": lambda r: r.auc,
    "relative gain": lambda r: r.relative_gain,
    "old mAP": lambda r: r.old["mean_ap"],
    "new mAP": lambda r: r.new["mean_ap"],
    "mAP at 0": lambda r: r.mean_ap[0],
    "mAP at 1": lambda r: r.mean_ap[-1],
    "negative flips": lambda r: r.flips,
    "sum of drops": lambda r: r.drops,
}


def table(results: Sequence[Result]) -> str:
    """Markdown, one row a method: percentages, mean and (from two seeds on) standard deviation over seeds.

    Args:
        results: of one benchmark, the seeds of a method after each other as `load_results` gives them.
    """
    names = ["method", "seeds", *(f"{name} (%)" for name in COLUMNS), "encoder passes per query"]
    rows = [names, ["---", *["--:"] * (len(names) - 1)]]
    for method, of_method in groupby(results, key=lambda r: r.method):
        group = list(of_method)
        cells = [_percent([figure(result) for result in group]) for figure in COLUMNS.values()]
        rows.append([method, str(len(group)), *cells, str(group[0].encoder_passes_per_query)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def tables(folder: str | Path) -> str:
    """The table of a benchmark, or those of the upgrades of a sequence under their names."""
    upgrades = load_upgrades(folder)
    if len(upgrades) == 1:
        return table(*upgrades.values())
    return "\n\n".join(f"{Path(folder).name}/{name}\n\n{table(results)}" for name, results in upgrades.items())


def _percent(values: list[float]) -> str:
    if np.isnan(values).any():  # the relative gain, where the new system is not better than the old
        return "undefined"
    percent = 100 * np.asarray(values)
    spread = percent.std(ddof=1) if len(values) > 1 else 0.0
    return f"{percent.mean():.2f} ± {spread:.2f}" if spread >= 0.005 else f"{percent.mean():.2f}"


def main() -> None:
    """Command line of `python -m benchmarks.table`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("folders", nargs="+", metavar="folder", help="results/<benchmark>")
    arguments = parser.parse_args()
    with exit_on_input_error():
        print("\n\n".join(tables(folder) for folder in arguments.folders))


if __name__ == "__main__":
    main()
