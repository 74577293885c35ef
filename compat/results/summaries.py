"""Summaries of a curve in one figure: columns of tables and ranks, with their direction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from compat.curve_metrics import ALWAYS
from compat.results.harm import deepest_fall
from compat.results.heads import gain_between_heads, head_ends, training
from compat.results.result import Metric, Result, metrics_of


@dataclass(frozen=True)
class Summary(Metric):
    """One figure of a result; NaN where it is undefined or the result lacks the curve.

    Attributes:
        of: computes it.
        known: whether a result has what it needs; every result has the mAP curve.
    """

    of: Callable[[Result], float]
    known: Callable[[Result], bool] = lambda r: True


HEADLINE = {"mean_ap": "mAP", "ndcg_10": "nDCG@10", "cmc_1": "R@1"}  # beside each other in every table


def has(metric: str) -> Callable[[Result], bool]:
    """Return whether a result has a metric's curve."""
    return lambda r: metric in r.curves


def gain_of(metric: str) -> Summary:
    """Return the relative gain of a metric's area, as that of mAP."""
    return Summary(f"gain of {HEADLINE[metric]}", True, lambda r: r.gain(metric), has(metric))


def fall_of(metric: str) -> Summary:
    """Return a metric's deepest fall below the old system, see `compat.results.harm`."""
    return Summary(f"{HEADLINE[metric]} below old", False, lambda r: deepest_fall(r, metric), has(metric))


SUMMARIES = {
    "auc": Summary("AUC mAP", True, lambda r: r.auc),
    "relative_gain": Summary("relative gain", True, lambda r: r.relative_gain),
    "gain_ndcg_10": gain_of("ndcg_10"),
    "gain_r_1": gain_of("cmc_1"),
    "gain_on_final": Summary("gain on own end", True, lambda r: r.gain_on_final),
    "gain_at_10": Summary("gain at 10 %", True, lambda r: r.gain_at(0.1)),
    "gain_at_25": Summary("at 25 %", True, lambda r: r.gain_at(0.25)),
    "gain_at_50": Summary("at 50 %", True, lambda r: r.gain_at(0.5)),
    "mean_ap_at_0": Summary("mAP at 0", True, lambda r: r.mean_ap[0]),
    "mean_ap_at_1": Summary("mAP at 1", True, lambda r: r.mean_ap[-1]),
    "own_end": Summary("own end over new model", True, lambda r: r.final_over_new),
    "flips": Summary("negative flips", False, lambda r: r.mean_negative_flips, has("negative_flip_rate")),
    "relative_flips": Summary("relative flips", False, lambda r: r.relative_flips, has("negative_flip_rate")),
    "harm": fall_of("mean_ap"),
    "harm_ndcg_10": fall_of("ndcg_10"),
    "harm_r_1": fall_of("cmc_1"),
    "drops": Summary("sum of drops", False, lambda r: r.total_drop),
    "auc_mean": Summary("plain mean of curve", True, lambda r: r.auc_mean),
}


def summaries(results: Iterable[Result], items: int | None = None) -> dict[str, Summary]:
    """Return the standard summaries, and those that any of these results has.

    These are the gain between labelled heads, the gain at equal seconds, and the area under each further curve.

    Args:
        results: of any benchmarks.
        items: the size of gallery for which the gain at equal seconds is computed; None: each benchmark's.
    """
    found = list(results)
    further = {name: area_of(name, one) for name, one in metrics_of(found).items() if name not in ALWAYS}
    paid = {"gain_at_equal": gain_at_equal(items)} if any(r.measured("seconds") for r in found) else {}
    return SUMMARIES | between_heads(found) | paid | further


def between_heads(results: Sequence[Result]) -> dict[str, Summary]:
    """Return the gain between labelled heads, see `compat.results.heads`; nothing where no result has both heads."""
    ends = head_ends(results)
    if not ends:
        return {}
    found = Summary("gain between heads", True, lambda r: gain_between_heads(r, ends), lambda r: training(r) in ends)
    return {"gain_between_heads": found}


def gain_at_equal(items: int | None) -> Summary:
    """Return a function for the relative gain within the seconds of a plain backfill."""
    size = f", {items:,} items" if items else ""
    return Summary(
        f"gain at equal seconds{size}",
        True,
        lambda r: r.gain_at_equal("seconds", items),
        lambda r: r.measured("seconds"),
    )


def area_of(name: str, metric: Metric) -> Summary:
    """Return a function for the area under a metric's curve."""
    return Summary(f"AUC {metric.label}", metric.higher_is_better, lambda r: r.mean(name), has(name))
