"""Summaries of a curve in one figure: columns of tables and ranks, with their direction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from compat.curve_metrics import ALWAYS
from compat.results.result import Metric, Result, metrics_of


@dataclass(frozen=True)
class Summary(Metric):
    """One figure of a result; NaN where it is undefined or the result lacks the curve.

    Attributes:
        of: computes it.
        curve: the metric of its curve.
        cost: the quantity of the cost it needs, or "".
    """

    of: Callable[[Result], float]
    curve: str = "mean_ap"
    cost: str = ""

    def known(self, result: Result) -> bool:
        """Whether a result has what the figure is computed from."""
        return self.curve in result.curves and (not self.cost or result.measured(self.cost))


SUMMARIES = {
    "auc": Summary("AUC mAP", True, lambda r: r.auc),
    "relative_gain": Summary("relative gain", True, lambda r: r.relative_gain),
    "gain_on_final": Summary("gain on own end", True, lambda r: r.gain_on_final),
    "gain_at_10": Summary("gain at 10 %", True, lambda r: r.gain_at(0.1)),
    "gain_at_25": Summary("at 25 %", True, lambda r: r.gain_at(0.25)),
    "gain_at_50": Summary("at 50 %", True, lambda r: r.gain_at(0.5)),
    "mean_ap_at_0": Summary("mAP at 0", True, lambda r: r.mean_ap[0]),
    "mean_ap_at_1": Summary("mAP at 1", True, lambda r: r.mean_ap[-1]),
    "own_end": Summary("own end over new model", True, lambda r: r.final_over_new),
    "flips": Summary("negative flips", False, lambda r: r.mean_negative_flips, "negative_flip_rate"),
    "relative_flips": Summary("relative flips", False, lambda r: r.relative_flips, "negative_flip_rate"),
    "drops": Summary("sum of drops", False, lambda r: r.total_drop),
    "auc_mean": Summary("plain mean of curve", True, lambda r: r.auc_mean),
}


def summaries(results: Iterable[Result], items: int | None = None) -> dict[str, Summary]:
    """Return the standard summaries, the gain at equal seconds if they were measured, and the area of further curves.

    Args:
        results: of any benchmarks.
        items: the size of gallery for which the gain at equal seconds is computed; None: each benchmark's.
    """
    found = list(results)
    further = {name: one for name, one in metrics_of(found).items() if name not in ALWAYS}
    paid = {"gain_at_equal": gain_at_equal(items)} if any(r.measured("seconds") for r in found) else {}
    return SUMMARIES | paid | {name: area_of(name, one) for name, one in further.items()}


def gain_at_equal(items: int | None) -> Summary:
    """Return a function for the relative gain within the seconds of a plain backfill."""
    size = f", {items:,} items" if items else ""
    return Summary(f"gain at equal seconds{size}", True, lambda r: r.gain_at_equal("seconds", items), cost="seconds")


def area_of(name: str, metric: Metric) -> Summary:
    """Return a function for the area under a metric's curve."""
    return Summary(f"AUC {metric.label}", metric.higher_is_better, lambda r: r.mean(name), name)
