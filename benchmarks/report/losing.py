"""Find who loses along the recommended way, on the reporting queries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.report.findings import Loss
from benchmarks.report.trials import Trial
from benchmarks.report.ways import SWITCH, MethodCurves
from compat.decision.losers import Fall, ProgressLosses, class_falls, falls, lowest, moments

MOST = 8  # queries, and classes, to name
PICTURES = 6  # of a class


class Moments(NamedTuple):
    """The moment of the lowest mAP, and the one with the largest losses."""

    lowest: ProgressLosses
    lost: ProgressLosses


def moments_of(trial: Trial, way: MethodCurves) -> Moments:
    """Find the moments on the way, without the start; for waiting and switching the end alone."""
    reporting = trial.halves[1]
    switching = way.method == SWITCH
    way = trial.ways[1] if switching else way
    correct = way.correct[reporting]
    before = trial.ways[0].correct[reporting, :1]
    flips = before * (1 - correct)
    found = moments(trial.progress.tolist(), trial.start[reporting], way.values[reporting], flips)
    later = found[-1:] if switching else found[1:] or found
    lost = max(later, key=lambda moment: (moment.flips, moment.losing, -moment.point))
    return Moments(lowest(later), lost)


def losing(trial: Trial, way: MethodCurves, lost: ProgressLosses, shown: Mapping[str, Any]) -> dict[str, list[Loss]]:
    """Return the classes and the queries falling most at a moment, with names and images."""
    reporting = trial.halves[1]
    rows = shown["rows"][trial.rows[reporting]]  # in the files
    values = (trial.ways[1] if way.method == SWITCH else way).values[reporting]
    measured = (trial.start[reporting], values[:, lost.point], values[:, -1])
    labels = None if shown["labels"] is None else np.asarray(shown["labels"])
    fallen = falls(rows, *measured, MOST)
    images: list[Path] = shown["images"]
    found = {"queries": [Loss(f, _query(f, labels, shown["names"]), images[f.place : f.place + 1]) for f in fallen]}
    if labels is None:
        return {**found, "classes": []}
    of_class = class_falls(labels[rows], *measured, MOST)

    def pictures(fall: Fall) -> list[Path]:
        own = rows[labels[rows] == fall.place][:PICTURES]
        return [images[row] for row in own] if images else []

    return {**found, "classes": [Loss(f, class_name(f.place, shown["names"]), pictures(f)) for f in of_class]}


def class_name(label: int, names: list[str]) -> str:
    """Return the name of a class, or its number."""
    return names[label] if 0 <= label < len(names) else f"class {label}"


def _query(fall: Fall, labels: np.ndarray | None, names: list[str]) -> str:
    number = f"query {fall.place}"
    return number if labels is None else f"{number} ({class_name(int(labels[fall.place]), names)})"
