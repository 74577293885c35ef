"""Measure what tools made of a pair of models: a backfill around each map, with raw distances and `QueryZScore`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks.report.trials import REFIT
from benchmarks.rivals.drive import Driven, Way
from benchmarks.rivals.lists import list_figures
from benchmarks.rivals.pair import ModelPair
from benchmarks.rivals.tools import OURS, Tool
from compat.backfill import Curve, backfill_curve
from compat.embeddings import Embeddings
from compat.experience import OwnForward, learning_curve
from compat.merge import Merge, QueryZScore
from compat.methods import Upgrade
from compat.models import Precomputed
from compat.progress import backfill_order

ORDERS = 3
POINTS = np.linspace(0, 1, 11)
FIGURES = ("ndcg_10", "mean_ap", "negative_flip_rate")
RULES: dict[str, Merge | None] = {"raw": None, "query_z_score": QueryZScore()}


@dataclass(frozen=True)
class Row:
    """A way of a tool on a pair of models, or why there is none.

    Attributes:
        tool: its name.
        way: of its ways.
        version: of its package.
        curves: merge rule -> name of a figure -> its values at `POINTS`, means over the orders. Lists have one rule,
            "lists", and no mAP.
        fit: CPU seconds until it serves; for a learner seconds of all its refits.
        query: CPU seconds of a query beside its encoding and the search.
        passes: encodings a query needs.
        memory_mib: the largest memory of its process; None where it has none of its own.
        failure: one line; empty if it went well.
    """

    tool: str
    way: str = ""
    version: str = ""
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    fit: float = 0.0
    query: float = 0.0
    passes: str = ""
    memory_mib: float | None = None
    failure: str = ""


class Comparison:
    """Measure ways on one pair of models.

    Attributes:
        pair: the matrices.
        orders: (S, G) random ones.
        right_before: (Q,) whether the old system is right at rank 1.
        systems: "old" and "new" -> name of a figure -> the plain system's.
    """

    def __init__(self, pair: ModelPair) -> None:
        self.pair = pair
        self.orders = np.stack([backfill_order(len(pair.plain.gallery_old), seed) for seed in range(ORDERS)])
        ends = backfill_curve(pair.plain, self.orders[0], [0.0, 1.0], metrics=["ndcg_10"], per_query=True)
        assert ends.first_rank is not None
        self.right_before = ends.first_rank[:, 0, 0] == 1
        shown = {name: ends.mean(name) for name in FIGURES}
        self.systems = {
            system: {name: rounded(values[end]) for name, values in shown.items()}
            for end, system in enumerate(("old", "new"))
        }

    def served(self, e: Embeddings) -> dict[str, dict[str, list[float]]]:
        """Return the curves of four matrices under each merge rule."""
        return {
            name: _figures(
                backfill_curve(e, self.orders, POINTS, metrics=["ndcg_10"], merge=merge, before=self.pair.plain)
            )
            for name, merge in RULES.items()
        }

    def listed(self, lists: np.ndarray, ratios: np.ndarray) -> dict[str, dict[str, list[float]]]:
        """Return the curves of ranked lists (T, Q, K) at some ratios, linear between them and constant around them."""
        found = [list_figures(one, self.pair.plain, self.right_before) for one in lists]
        names = found[0]
        return {
            "lists": {
                name: [rounded(value) for value in np.interp(POINTS, ratios, [one[name] for one in found])]
                for name in names
            }
        }

    def rows(self, tool: Tool, driven: Driven) -> Iterator[Row]:
        """Yield the rows of a tool: its ways, and how it failed."""
        if tool.name == OURS:
            yield from self.own(driven.version)
        for way in driven.ways:
            try:
                curves = self._curves(way)
            except (ValueError, IndexError, RuntimeError) as error:
                yield Row(tool.name, way.name, driven.version, failure=f"wrong result: {str(error).splitlines()[0]}")
                continue
            yield Row(tool.name, way.name, driven.version, curves, way.fit, way.query, way.passes, way.memory_mib)
        if driven.failure:
            yield Row(tool.name, version=driven.version, failure=driven.failure)

    def _curves(self, way: Way) -> dict[str, dict[str, list[float]]]:
        if "lists" in way.arrays:
            return self.listed(way.arrays["lists"], way.arrays["ratios"])
        changed = {f"{part}_old": rows.astype(np.float32) for part, rows in way.arrays.items()}
        return self.served(self.pair.plain.replace(**changed))

    def own(self, version: str) -> Iterator[Row]:
        """Yield this project's rows that need no training pairs; own_forward in the first order alone."""
        plain = self.pair.plain
        yield Row(OURS, "independent", version, self.served(plain), passes="2")
        models = Precomputed(plain.gallery_old.shape[1]), Precomputed(plain.gallery_new.shape[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a learner without a fit serves as before
            given = (plain, Upgrade(*models), OwnForward(*models), list(self.orders[:1]), REFIT, POINTS)
            curve, took = learning_curve(*given, metrics=["ndcg_10"])
        fit, passes = float(took.seconds.sum()), f"{took.passes[:, 1:].mean():.1f}"
        yield Row(OURS, "own_forward", version, {"raw": _figures(curve)}, fit, passes=passes)


def _figures(curve: Curve) -> dict[str, list[float]]:
    return {name: [rounded(value) for value in curve.mean(name)] for name in FIGURES}


def rounded(value: float) -> float:
    """Return a figure with the digits that are kept."""
    return round(float(value), 5)


def as_json(row: Row) -> dict[str, Any]:
    """Return a row for a file; figures of time and memory with three digits or more."""
    found = asdict(row)
    found["fit"], found["query"] = round(row.fit, 3), round(row.query, 6)
    found["memory_mib"] = None if row.memory_mib is None else round(row.memory_mib)
    return found
