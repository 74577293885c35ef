"""Upgrades of real models, from the files of `benchmarks.real`, as Markdown tables."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.tables.live import markdown
from compat.curve import area, relative_gain
from compat.errors import InputError

LEAST = 1.0  # points between both systems, below which a gain tells nothing
RULES = ("own", "raw", "query_z_score")  # of a cell, in this order
ROUNDING = 0.05  # points, below which a fall is none


class UpgradeRow(NamedTuple):
    """The figures of one method on one pair under one rule, in percent; `values` run over `progress`."""

    pair: str
    method: str
    merge: str
    cpu_seconds: float
    pairs_of: str
    progress: list[float]
    values: list[float]
    old: float
    new: float

    @property
    def gain(self) -> float:
        """The relative gain (%); NaN where both systems are hardly apart."""
        if self.new - self.old < LEAST:
            return math.nan
        return 100 * relative_gain(area(self.progress, self.values), self.old, self.new)

    @property
    def fall(self) -> float:
        """How far the curve falls below the old system at most (points)."""
        found = self.old - min(self.values)
        return found if found > ROUNDING else 0.0


def read_pairs(path: Path) -> dict[str, dict[str, Any]]:
    """Read the records of the pairs by name.

    Raises:
        InputError: no such file, or another.
    """
    try:
        return {name: {"metric": record["metric"], **record} for name, record in json.loads(path.read_text()).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error}, expected records of benchmarks.real") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the lines beside the records.

    Raises:
        InputError: no such file, or another.
    """
    lines = path.with_suffix(".jsonl.gz")
    try:
        with gzip.open(lines, "rt") as file:
            return [json.loads(line) for line in file]
    except (OSError, ValueError) as error:
        raise InputError(f"{lines}: {error}, expected lines of benchmarks.real") from error


def read_rows(path: Path) -> list[UpgradeRow]:
    """Read the lines beside the records, by each pair's metric."""
    pairs, lines, ends = read_pairs(path), read_lines(path), {}
    for line in lines:
        if (line["method"], line["merge"]) == ("independent", "raw"):
            values = line[pairs[line["pair"]]["metric"]]
            ends[line["pair"]] = (values[0], values[-1])
    return [
        UpgradeRow(
            line["pair"],
            line["method"],
            line["merge"],
            line["cpu_seconds"],
            line.get("pairs_of", ""),
            line["progress"],
            line[pairs[line["pair"]]["metric"]],
            *ends[line["pair"]],
        )
        for line in lines
    ]


def pairs_table(path: Path) -> str:
    """One row for each pair: its data, models, the two systems and what the embeddings took."""
    ends = {row.pair: row for row in read_rows(path)}
    others = {line["pair"]: line for line in read_lines(path) if "pairs_of" in line}
    head = ("upgrade", "queries", "items", "dimensions", "metric", "old %", "new %", "CPU s", "MiB", "other pairs of")
    rows = [head]
    for name, record in read_pairs(path).items():
        models = [record["models"][system] for system in ("old", "new")]
        rows.append(
            (
                name,
                f"{record['queries']:,}",
                f"{record['items']:,}",
                " to ".join(str(model["dim"]) for model in models),
                "nDCG@10" if record["metric"] == "ndcg_10" else "mAP",
                f"{ends[name].old:.1f}",
                f"{ends[name].new:.1f}",
                " + ".join(f"{model['cpu_seconds']:.0f}" for model in models),
                " and ".join(f"{model['mebibytes']:,.0f}" for model in models),
                f"{others[name]['pairs_of']} ({100 * others[name]['uncovered']:.0f} %)" if name in others else "-",
            )
        )
    return markdown(rows)


def gains_table(path: Path, metric: str) -> str:
    """A row for each method, a column for each pair of a metric: gain raw / by query (falls below the old system)."""
    found, records = read_rows(path), read_pairs(path)
    names = [name for name, record in records.items() if record["metric"] == metric]
    methods = list(dict.fromkeys(row.method for row in found))
    cells = {(row.method, row.pair, row.merge): row for row in found if not row.pairs_of}
    rows = [("method", *names)]
    for method in methods:
        rows.append((method, *(cell([cells.get((method, name, merge)) for merge in RULES]) for name in names)))
    return markdown(rows)


def cell(rows: Sequence[UpgradeRow | None]) -> str:
    """Format gains, and in brackets the falls below the old system if there are any."""
    there = [row for row in rows if row is not None]
    if not there:
        return ""
    gains = " / ".join("-" if math.isnan(row.gain) else f"{row.gain:.0f}" for row in there)
    falls = " / ".join(f"{row.fall:.1f}" for row in there)
    return f"{gains} ({falls})" if any(row.fall for row in there) else gains


def summary_table(path: Path) -> str:
    """A row for each method: median gain over all pairs, and how often and how far it falls below the old."""
    found = read_rows(path)
    head = ("method", "upgrades", "gain raw", "gain by query", "by query better", "below raw", "below by query")
    rows: list[tuple[str, ...]] = [(*head, "deepest fall", "CPU s")]
    methods = list(dict.fromkeys(row.method for row in found))
    for elsewhere in (False, True):
        for method in methods:
            mine = [row for row in found if row.method == method and bool(row.pairs_of) == elsewhere]
            of_rule = [[row for row in mine if row.merge in rules] for rules in (("raw", "own"), ("query_z_score",))]
            if not of_rule[0]:
                continue
            gains = [[row.gain for row in rows if not math.isnan(row.gain)] for rows in of_rule]
            better = sum(z > raw for raw, z in zip(*gains, strict=False))
            below = [f"{sum(row.fall > 0 for row in rows)}" if rows else "" for rows in of_rule]
            rows.append(
                (
                    f"{method}, other pairs" if elsewhere else method,
                    str(len(of_rule[0])),
                    f"{median(gains[0]):.0f}",
                    f"{median(gains[1]):.0f}" if gains[1] else "",
                    f"{better} of {len(gains[1])}" if gains[1] else "",
                    *below,
                    f"{max(row.fall for row in mine):.1f}",
                    f"{max(row.cpu_seconds for row in mine):.1f}",
                )
            )
    return markdown(rows)
