"""The data of the page's script, as small JSON: figures as in tables, curves as whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import yaml

from benchmarks.page.budget import KINDS, budget_of
from benchmarks.page.commands import for_method
from benchmarks.page.families import families
from benchmarks.page.gather import Benchmark
from benchmarks.tables.effort import format_effort
from benchmarks.tables.table import TableRow, cell, compatible, percent, seeds, systems
from compat.results import Result, metrics_of
from compat.results.summaries import HEADLINE, Summary, summaries

UNIT = 1e4  # of the whole numbers of a curve: hundredths of a percent, as tables have them


def payload(benchmarks: Sequence[Benchmark]) -> dict[str, Any]:
    """Return the input of `page.js`: columns, metrics, benchmarks, rows, budgets, and the first benchmark to show.

    It is the largest one in a family, of those with all headline metrics if there are any.
    """
    found = families(benchmarks)
    family = {one.name: name for name, members in found.items() for one in members}
    grouped = [one for members in found.values() for one in members] or benchmarks
    start = max(grouped, key=lambda one: (HEADLINE.keys() <= one.results[0].curves.keys(), len(one.rows)))
    results = [result for one in benchmarks for result in one.results]
    columns = list(summaries(results).values())
    return {
        "columns": [{"name": one.label, "higher": one.higher_is_better} for one in columns],
        "metrics": {
            key: {"label": one.label, "higher": one.higher_is_better} for key, one in metrics_of(results).items()
        },
        "budgets": KINDS,
        "start": start.name,
        "benchmarks": [_benchmark(one) | {"family": family.get(one.name, one.name)} for one in benchmarks],
        "rows": [_row(number, one, row, columns) for number, one in enumerate(benchmarks) for row in one.rows],
    }


def _benchmark(one: Benchmark) -> dict[str, Any]:
    first = one.results[0]
    config = {name: part for name, part in one.experiment["config"].items() if name != "methods"}
    return {
        "name": one.name,
        "folder": one.folder.name,
        "dataSet": one.data_set,
        "setting": one.setting,
        "systems": systems(one.results),
        "queries": first.queries,
        "gallery": first.gallery_items,
        "progress": first.progress,
        "levels": {name: _levels(one.results, name) for name in ("old", "new")},
        "commands": one.experiment["commands"],
        "config": _yaml(config),
        "provenance": one.experiment["provenance"],
        "failures": [failure.line for failure in one.failures],
    }


def _levels(results: Sequence[Result], system: str) -> dict[str, float | None]:
    """Return a system's own figures, means over trainings; None for metrics comparing two systems, such as flips."""
    levels: dict[str, float | None] = {}
    for metric in metrics_of(results):
        trainings = {
            tuple(r.backbones): value for r in results if (value := getattr(r, system).get(metric)) is not None
        }
        levels[metric] = float(np.mean(list(trainings.values()))) if trainings else None
    return levels


def _row(number: int, one: Benchmark, row: TableRow, columns: Sequence[Summary]) -> dict[str, Any]:
    group, first = row.group, row.group[0]
    return {
        "benchmark": number,
        "name": first.name,
        "method": first.method,
        "order": first.order,
        "merge": first.merge,
        "mark": row.mark,
        "cells": [cell(group, column) for column in columns],
        "values": [_mean([column.of(r) for r in group]) for column in columns],
        "seeds": seeds(group),
        "tuning": one.effort.get(format_effort(first.spec), "-"),
        "compatible": compatible(group),
        "passes": first.encoder_passes_per_query,
        "bytes": first.bytes_per_item,
        "seconds": _mean([r.training_seconds for r in group]),
        "cost": {name: _cost(group, name) for name in ("seconds", "bytes") if all(r.measured(name) for r in group)},
        "needs": first.needs,
        "budget": budget_of(need for needs in first.needs.values() for need in needs),
        "classPath": str(first.spec.get("class_path", "")),
        "spec": _yaml(first.spec),
        "commands": for_method(one.experiment["commands"], first.method),
        "curves": {key: _curves(group, key) for key in metrics_of(group) if all(key in r.curves for r in group)},
        "results": [_result(r) for r in group],
    }


def _mean(values: Sequence[float]) -> float:
    return float(f"{np.mean(values):.7g}")


def _cost(group: Sequence[Result], quantity: str) -> dict[str, Any]:
    """Return the cost of a row, a mean over the seeds, each in units of its plain backfill of one item."""
    found = [r.cost[quantity] for r in group]
    parts = {
        "item": [[one.item / one.plain] for one in found],
        "fixed": [[part / one.plain for part in one.fixed] for one in found],
        "each": [[part / one.plain for part in one.each] for one in found],
    }
    means = {name: [_mean(values) for values in zip(*lists, strict=True)] for name, lists in parts.items()}
    return {**means, "item": means["item"][0], "at": found[0].at}


def _curves(group: Sequence[Result], metric: str) -> list[list[int | None]]:
    """Return mean, lowest and highest over the seeds, in `UNIT`; the mean alone where they are the same."""
    values = np.array([r.curves[metric] for r in group])
    curves = (
        [values.mean(0)]
        if np.array_equal(values, np.broadcast_to(values[0], values.shape), equal_nan=True)
        else [values.mean(0), values.min(0), values.max(0)]
    )
    return [[int(v) if np.isfinite(v) else None for v in np.rint(curve * UNIT)] for curve in curves]


def _result(result: Result) -> list[Any]:
    """Return seed, key, formatted area, seconds of training, trainings of the two models, records of provenance."""
    seconds = float(f"{result.training_seconds:.4g}")
    return [result.seed, result.key, percent([result.auc]), seconds, result.backbones, result.provenance]


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True).strip()
