"""One result: the replay of one method, with the labels that tell it from the others. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from compat.curve import area, relative_flips, relative_gain, sum_of_drops
from compat.curve_metrics import CURVE_METRICS
from compat.errors import InputError

Labels: TypeAlias = dict[str, Any]
PLAIN = {"order": "random", "merge": "raw"}
ORDINALS = ("first", "second", "third")


@dataclass(frozen=True)
class Result:
    """The replay of one method. Lists run over `progress`; figures are fractions, means over the orders.

    Attributes:
        benchmark: name of the benchmark.
        labels: what tells this result from the others of the benchmark: upgrade ("" or, in a sequence, first,
            second_from_1, ...), method, seed (an integer, of the method's head and of the orders), order, merge.
        key: of everything that the figures depend on.
        backbones: of the old and the new model on their own, which training or checkpoint each is; results of which
            these are equal are of one training. None in results from before this was kept.
        progress: completion ratios.
        curves: name of a metric -> its value at each ratio. mean_ap is always there; names are those of
            `compat.curve_metrics.CURVE_METRICS` and of `metrics`.
        mean_ap_orders: the mAP list of each order.
        old: figures of the old system, old queries on old items, by metric. It is the old model on its own: for a
            second upgrade the middle model's, whatever the first one made of it; for one that starts before the
            first has ended the oldest model's, which part of the gallery is still embedded with.
        new: figures of the new system, new queries on new items, likewise the new model on its own.
        queries: queries evaluated.
        queries_without_positive: queries skipped because no relevant item is in the gallery.
        gallery_items: size of the gallery.
        encoder_passes_per_query: forward passes of an embedder while the backfilling goes on; of a method that learns
            on the way their mean, rounded.
        bytes_per_item: written for each gallery item until all are new, as float32; twice where old items are
            transformed first; 0 in results from before it was counted.
        needs: for each axis, such as order and merge, what has to be known for it.
        starts_at: progress of the upgrade before this one when this one starts; 0 if there is none.
        seconds: that each stage took when it was computed.
        training_seconds: of training the model of this upgrade and what the method learned for it; of neither the old
            model, which is there, nor another upgrade's.
        spec: the method's own config.
        refits: of a method that expects new embeddings on the way, lists of a length: the progress of each refit from
            which its model served, the mean squared error that it expected of what is left, and the observed one.
        provenance: names of the records in experiment.yaml that say where and by which code this was made.
        images_skipped: paths of the images that could not be decoded and were left out.
        metrics: label and direction of each metric that CURVE_METRICS does not have.
        transforms_gallery: whether the method writes old items anew first, so that the old gallery is not as it was.
    """

    benchmark: str
    labels: Labels
    key: str
    progress: list[float]
    curves: dict[str, list[float]]
    mean_ap_orders: list[list[float]]
    old: dict[str, float]
    new: dict[str, float]
    queries: int
    queries_without_positive: int
    gallery_items: int
    encoder_passes_per_query: int
    bytes_per_item: int = 0
    backbones: list[str] = field(default_factory=list)
    needs: dict[str, list[str]] = field(default_factory=dict)
    starts_at: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    training_seconds: float = 0.0
    spec: dict[str, Any] = field(default_factory=dict)
    refits: dict[str, list[float]] = field(default_factory=dict)
    provenance: list[str] = field(default_factory=list)
    images_skipped: list[str] = field(default_factory=list)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    transforms_gallery: bool = False

    @property
    def mean_ap(self) -> list[float]:
        """The mAP curve."""
        return self.curves["mean_ap"]

    @property
    def upgrade(self) -> str:
        """Which upgrade of a sequence; empty where there is one."""
        return str(self.labels.get("upgrade", ""))

    @property
    def number(self) -> int:
        """The upgrade's place in its sequence, from 1 on."""
        return upgrade_number(self.upgrade)

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.labels["method"])

    @property
    def seed(self) -> int:
        """Of the method's head and of the orders."""
        return int(self.labels["seed"])

    @property
    def order(self) -> str:
        """Name of the order in which the gallery is backfilled."""
        return str(self.labels.get("order", PLAIN["order"]))

    @property
    def merge(self) -> str:
        """Name of the rule by which the two lists are merged."""
        return str(self.labels.get("merge", PLAIN["merge"]))

    @property
    def name(self) -> str:
        """The row of a table: the method, with the other labels where they are not the plain ones."""
        return row_name(self.labels)

    @property
    def budget(self) -> str:
        """What has to be known for it, beyond the embeddings."""
        return ", ".join(dict.fromkeys(need for needs in self.needs.values() for need in needs)) or "-"

    @property
    def backward_compatible(self) -> bool | None:
        """Whether new queries find more in the old gallery than old ones: M(new, old) > M(old, old) in mAP.

        That is backward compatibility where the method leaves the gallery as it was; of one that transforms it, tables
        say "forward". None where queries are encoded by both models, at progress 0 at least.
        """
        both = self.encoder_passes_per_query > 1 or "own pairs" in self.needs.get("method", [])
        return None if both else self.mean_ap[0] > self.old["mean_ap"]

    def gain_at(self, progress: float) -> float:
        """Share of the old-to-new gain in mAP that is reached at a progress, linear between completion ratios."""
        value = float(np.interp(progress, self.progress, self.mean_ap))
        return relative_gain(value, self.old["mean_ap"], self.new["mean_ap"])

    @property
    def gain_on_final(self) -> float:
        """The relative gain against the system that the method ends in, such as rho(new), in place of the plain new."""
        return relative_gain(self.auc, self.old["mean_ap"], self.mean_ap[-1])

    @property
    def auc(self) -> float:
        """Area under the mAP curve."""
        return area(self.progress, self.mean_ap)

    @property
    def auc_mean(self) -> float:
        """The plain mean of the mAP curve's points (FastFill, lambda-orthogonality), whose ends count in full."""
        return float(np.mean(self.mean_ap))

    @property
    def own_end(self) -> float:
        """mAP when all is backfilled over that of the new model on its own, which was trained without the method."""
        return self.mean_ap[-1] / self.new["mean_ap"] if self.new["mean_ap"] else float("nan")

    @property
    def relative_gain(self) -> float:
        """Share of the old-to-new gain in mAP that the backfilling has on average."""
        return relative_gain(self.auc, self.old["mean_ap"], self.new["mean_ap"])

    @property
    def drops(self) -> float:
        """Sum of the drops along the mAP curve."""
        return sum_of_drops(self.mean_ap)

    def mean(self, metric: str) -> float:
        """A metric, averaged over progress; NaN where the result has none of it."""
        return area(self.progress, self.curves[metric]) if metric in self.curves else math.nan

    @property
    def flips(self) -> float:
        """Negative flip rate, averaged over progress."""
        return self.mean("negative_flip_rate")

    @property
    def relative_flips(self) -> float:
        """The same over the flips of independent errors at rank 1, averaged over progress; see `compat.curve`."""
        if not {"negative_flip_rate", "cmc_1"} <= self.curves.keys() or "cmc_1" not in self.old:
            return math.nan
        flips, correct = self.curves["negative_flip_rate"], self.curves["cmc_1"]
        return area(self.progress, relative_flips(flips, self.old["cmc_1"], correct))


@dataclass(frozen=True)
class Metric:
    """How a figure of a `Result` is shown: its label, and whether more of it is better."""

    label: str
    higher_is_better: bool


def metrics_of(results: Iterable[Result]) -> dict[str, Metric]:
    """The metrics that some of these results have, by name: those of CURVE_METRICS first."""
    found = list(results)
    names = {name for result in found for name in result.curves}
    told = {name: Metric(**how) for result in found for name, how in result.metrics.items()}
    known = {name: Metric(one.label, one.higher_is_better) for name, one in CURVE_METRICS.items() if name in names}
    return known | {name: told[name] for name in sorted(names & told.keys())}


@dataclass(frozen=True)
class Failure:
    """A result that could not be made, and why."""

    benchmark: str
    labels: Labels
    reason: str

    @property
    def line(self) -> str:
        """Of a table's end."""
        named = {**self.labels, "seed": f"seed {self.labels['seed']}"}
        method = named.pop("method")
        shown = [str(named[name]) for name in sorted(named, key=lambda name: name == "seed") if named[name]]
        return f"{method} ({', '.join(shown)}) failed: {self.reason}"


def identity(labels: Labels) -> tuple[tuple[str, str], ...]:
    """Labels as a key of a dictionary: their sequence does not matter, nor whether a seed is a number."""
    return tuple(sorted((name, str(value)) for name, value in labels.items()))


def row_name(labels: Labels) -> str:
    """The method, with the other labels where they are not the plain ones; seed and upgrade have places of their own.

    Example:
        >>> row_name({"upgrade": "", "method": "rqt", "seed": 0, "order": "random", "merge": "z_score"})
        'rqt + z_score'
    """
    others = (str(value) for name, value in labels.items() if name not in ("upgrade", "method", "seed"))
    plain = {PLAIN.get(name, "") for name in labels}
    method = [str(labels["method"])] if "method" in labels else []
    return " + ".join([*method, *(value for value in others if value not in plain)]) or "plain"


def ordinal(number: int) -> str:
    """How the upgrades of a sequence are counted: first, second, third, 4th."""
    return ORDINALS[number - 1] if number <= len(ORDINALS) else f"{number}th"


def upgrade_number(name: str) -> int:
    """The place of an upgrade in its sequence, from the first word of its name.

    Raises:
        InputError: it is none of those that `ordinal` gives.

    Example:
        >>> tuple(upgrade_number(name) for name in ("", "first", "third_from_0.5", "4th_from_1"))
        (1, 1, 3, 4)
    """
    word = name.partition("_")[0]
    if word in ("", *ORDINALS):
        return ORDINALS.index(word or "first") + 1
    if not re.fullmatch("[0-9]+th", word):
        raise InputError(f"upgrade: {name!r}, expected first, second_from_1, third_from_0.5, 4th_from_1, ...")
    return int(word[:-2])
