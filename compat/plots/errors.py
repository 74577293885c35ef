"""Plot a world model's expected and observed errors. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from matplotlib.figure import Figure

from compat.errors import InputError
from compat.plots.curves import styles_of
from compat.results import Result


def plot_errors(results: Sequence[Result], highlight: Collection[str] = ()) -> Figure:
    """Plot the mean squared error on unmigrated items at each refit: observed (solid) and expected (dashed).

    One pair of lines per seed of each row whose model serves predictions.

    Args:
        results: of one benchmark.
        highlight: as of `compat.plots.curves.plot_curves`.

    Raises:
        InputError: no result has errors.
    """
    shown = [result for result in results if result.refits.get("progress")]
    if not shown:
        raise InputError("errors: no row with a world model, expected one such as own_forward")
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    panel = figure.subplots()
    styles = styles_of(shown, lambda r: r.name, highlight)
    named: set[str] = set()
    for result in shown:
        progress = [100 * point for point in result.refits["progress"]]
        color = styles[result.name]["color"]
        label = None if result.name in named else result.name
        panel.plot(progress, result.refits["observed"], "-", color=color, label=label)
        panel.plot(progress, result.refits["expected"], "--", color=color)
        named.add(result.name)
    panel.set(xlabel="backfilled (%)", ylabel="squared error of what is left", ylim=(0, None))
    panel.grid(alpha=0.3)
    panel.legend(title="observed; dashed: expected", fontsize=8, title_fontsize=8)
    figure.suptitle(results[0].benchmark)
    return figure
