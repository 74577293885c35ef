"""One result: the replay of one method, with the labels identifying it. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from compat.cost import Cost, against_cost, mean_up_to
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
        labels: identify this result in the benchmark: upgrade ("" or, in a sequence, first, second_from_1, ...),
            method, seed (an integer, of the method's head and of the orders), order, merge.
        key: digest of everything the figures depend on.
        backbones: the training or checkpoint of the old and of the new model; results with equal ones are of one
            training. None in results from before this was kept.
        progress: completion ratios.
        curves: name of a metric -> its value at each ratio. mean_ap is always there; names are those of
            `compat.curve_metrics.CURVE_METRICS` and of `metrics`.
        mean_ap_orders: the mAP list of each order.
        old: figures of the old system, old queries on old items, by metric: the old model on its own. For a second
            upgrade it is the plain middle model; for an overlapping second upgrade the oldest model, as part
            of the gallery still has its embeddings.
        new: figures of the new system, new queries on new items, likewise the new model on its own.
        queries: number of queries evaluated.
        queries_without_positive: number of queries skipped for lack of a relevant item in the gallery.
        gallery_items: size of the gallery.
        encoder_passes_per_query: forward passes of an embedder during the backfill; for an online method their mean,
            rounded.
        bytes_per_item: written for each gallery item until all are new, as float32; twice where old items are
            transformed first; 0 in results from before it was counted.
        needs: for each axis, such as order and merge, its required inputs.
        starts_at: progress of the previous upgrade at the start of this one; 0 without one.
        seconds: of each stage, when it was computed.
        training_seconds: of training the model of this upgrade and the method's head; without the old model, which
            already exists, and without other upgrades.
        spec: the method's own config.
        refits: for a method predicting new embeddings online, lists of one length: progress of each refit whose model
            served, its expected mean squared error on the remaining items, and the observed one.
        provenance: names of the records of machine and code in experiment.yaml.
        images_skipped: paths of undecodable images, left out.
        metrics: label and direction of each metric outside CURVE_METRICS.
        transforms_gallery: whether the method rewrites old items first, so the old gallery changes.
        cost: what the backfill spends of "seconds" and of "bytes"; empty where this was not measured.
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
    cost: dict[str, Cost] = field(default_factory=dict)

    @property
    def mean_ap(self) -> list[float]:
        """The mAP curve."""
        return self.curves["mean_ap"]

    @property
    def upgrade(self) -> str:
        """Name of the upgrade in a sequence; empty for a single one."""
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
        """Seed of the method's head and of the orders."""
        return int(self.labels["seed"])

    @property
    def order(self) -> str:
        """Name of the backfill order."""
        return str(self.labels.get("order", PLAIN["order"]))

    @property
    def merge(self) -> str:
        """Name of the merge rule."""
        return str(self.labels.get("merge", PLAIN["merge"]))

    @property
    def name(self) -> str:
        """Name of the table row: the method, with any labels other than the default ones."""
        return row_name(self.labels)

    @property
    def budget(self) -> str:
        """The inputs required beyond the embeddings."""
        return ", ".join(dict.fromkeys(need for needs in self.needs.values() for need in needs)) or "-"

    @property
    def backward_compatible(self) -> bool | None:
        """Whether new queries find more in the old gallery than old ones: M(new, old) > M(old, old) in mAP.

        This is backward compatibility if the method leaves the gallery unchanged; for one transforming it, tables say
        "forward". None where both models encode queries, at progress 0 at least.
        """
        both = self.encoder_passes_per_query > 1 or "own pairs" in self.needs.get("method", [])
        return None if both else self.mean_ap[0] > self.old["mean_ap"]

    def gain_at(self, progress: float) -> float:
        """Return the share of the old-to-new gain in mAP reached at a progress, linear between completion ratios."""
        value = float(np.interp(progress, self.progress, self.mean_ap))
        return relative_gain(value, self.old["mean_ap"], self.new["mean_ap"])

    @property
    def gain_on_final(self) -> float:
        """The relative gain against the method's own final system, such as rho(new), instead of the plain new one."""
        return relative_gain(self.auc, self.old["mean_ap"], self.mean_ap[-1])

    @property
    def auc(self) -> float:
        """Area under the mAP curve."""
        return area(self.progress, self.mean_ap)

    @property
    def auc_mean(self) -> float:
        """Plain mean of the mAP curve's points (FastFill, lambda-orthogonality), whose ends count in full."""
        return float(np.mean(self.mean_ap))

    @property
    def final_over_new(self) -> float:
        """Final mAP over the mAP of the plain new model, trained without the method."""
        return self.mean_ap[-1] / self.new["mean_ap"] if self.new["mean_ap"] else float("nan")

    @property
    def relative_gain(self) -> float:
        """Mean share of the old-to-new gain in mAP over the backfill."""
        return self.gain("mean_ap")

    def against(
        self, quantity: str, metric: str = "mean_ap", items: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a curve against what is spent of a quantity of `cost`, in units of a plain backfill.

        Args:
            quantity: seconds or bytes.
            metric: its curve; where the old system has no figure, it starts at 0, as flips do.
            items: size of the gallery; None: the benchmark's.
        """
        cost, count = self.cost[quantity], items or self.gallery_items
        before = self.old.get(metric, 0.0)
        x, values = against_cost(cost, self.progress, self.curves[metric], before, count)
        return x / (cost.plain * count), values

    def measured(self, quantity: str) -> bool:
        """Whether the cost of a plain backfill is known, in seconds or in bytes."""
        return quantity in self.cost and self.cost[quantity].plain > 0

    def gain_at_equal(self, quantity: str, items: int | None = None) -> float:
        """Return the relative gain until as much is spent as by a plain backfill; NaN where this was not measured.

        Arguments as in `against`.
        """
        if not self.measured(quantity):
            return math.nan
        mean = mean_up_to(*self.against(quantity, items=items), 1.0)
        return relative_gain(mean, self.old["mean_ap"], self.new["mean_ap"])

    @property
    def total_drop(self) -> float:
        """Sum of the drops along the mAP curve."""
        return sum_of_drops(self.mean_ap)

    def mean(self, metric: str) -> float:
        """Return a metric averaged over progress; NaN if the result lacks it."""
        return area(self.progress, self.curves[metric]) if metric in self.curves else math.nan

    def gain(self, metric: str) -> float:
        """Return the mean share of the old-to-new gain in a metric over the backfill; NaN if the result lacks it."""
        if not all(metric in figures for figures in (self.curves, self.old, self.new)):
            return math.nan
        return relative_gain(self.mean(metric), self.old[metric], self.new[metric])

    @property
    def mean_negative_flips(self) -> float:
        """Negative flip rate, averaged over progress."""
        return self.mean("negative_flip_rate")

    @property
    def relative_flips(self) -> float:
        """Negative flip rate over that of independent errors at rank 1, averaged over progress; see `compat.curve`."""
        if not {"negative_flip_rate", "cmc_1"} <= self.curves.keys() or "cmc_1" not in self.old:
            return math.nan
        flips, correct = self.curves["negative_flip_rate"], self.curves["cmc_1"]
        return area(self.progress, relative_flips(flips, self.old["cmc_1"], correct))


@dataclass(frozen=True)
class Metric:
    """How to show a figure of a `Result`: its label, and whether higher is better."""

    label: str
    higher_is_better: bool


def metrics_of(results: Iterable[Result]) -> dict[str, Metric]:
    """Return the metrics of any of these results, by name: those of CURVE_METRICS first."""
    found = list(results)
    names = {name for result in found for name in result.curves}
    told = {name: Metric(**how) for result in found for name, how in result.metrics.items()}
    known = {name: Metric(one.label, one.higher_is_better) for name, one in CURVE_METRICS.items() if name in names}
    return known | {name: told[name] for name in sorted(names & told.keys())}


@dataclass(frozen=True)
class Failure:
    """A failed job, and why."""

    benchmark: str
    labels: Labels
    reason: str

    @property
    def line(self) -> str:
        """Line for the end of a table."""
        named = {**self.labels, "seed": f"seed {self.labels['seed']}"}
        method = named.pop("method")
        shown = [str(named[name]) for name in sorted(named, key=lambda name: name == "seed") if named[name]]
        return f"{method} ({', '.join(shown)}) failed: {self.reason}"


def identity(labels: Labels) -> tuple[tuple[str, str], ...]:
    """Make labels a dictionary key: independent of their sequence, and of seeds as numbers or text."""
    return tuple(sorted((name, str(value)) for name, value in labels.items()))


def row_name(labels: Labels) -> str:
    """Name the row: the method, with any labels other than the default ones; without seed and upgrade.

    Example:
        >>> row_name({"upgrade": "", "method": "rqt", "seed": 0, "order": "random", "merge": "z_score"})
        'rqt + z_score'
    """
    others = (str(value) for name, value in labels.items() if name not in ("upgrade", "method", "seed"))
    plain = {PLAIN.get(name, "") for name in labels}
    method = [str(labels["method"])] if "method" in labels else []
    return " + ".join([*method, *(value for value in others if value not in plain)]) or "plain"


def ordinal(number: int) -> str:
    """Name an upgrade's place in a sequence: first, second, third, 4th."""
    return ORDINALS[number - 1] if number <= len(ORDINALS) else f"{number}th"


def upgrade_number(name: str) -> int:
    """Return the place of an upgrade in its sequence, from the first word of its name.

    Raises:
        InputError: not a name given by `ordinal`.

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
