"""Findings from a folder of results by `benchmarks.run` or `benchmarks.replay`, without embeddings."""

from __future__ import annotations

import argparse
import pkgutil
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.report.findings import CurveLine, Findings, NamedFigures, Tried
from benchmarks.report.inputs import check_size
from benchmarks.report.numbers import counted
from benchmarks.report.ways import METHODS, SWITCH
from compat.curve import area
from compat.decision import Effort, bands, choose, halves
from compat.decision.calendar import Alternative, MigrationSize, backfill, nothing, switch
from compat.decision.calibration import gain_reached
from compat.decision.choice import NEAR
from compat.decision.gain import judge
from compat.decision.losers import lowest, moments
from compat.errors import InputError
from compat.importing import ANYTHING
from compat.results import Result, load_query_auc, load_upgrades
from compat.statistics import Interval, over_seeds

DRAWN = 5  # curves
EVERYTHING = "all matrices and labels"  # unknown beforehand: orders needing it are bounds
LONELY = (
    "All results are of one training of the models, so a gain may be chance. Use several seeds, or report on the "
    "embeddings themselves (python -m benchmarks.export writes them)."
)


class FolderRow(NamedTuple):
    """A row of the folder: the results of its seeds, its mean curve, and each query's area if it was kept."""

    results: list[Result]
    values: np.ndarray
    areas: np.ndarray | None
    effort: Effort

    @property
    def name(self) -> str:
        """Name of the row."""
        return self.results[0].name

    @property
    def bound(self) -> bool:
        """Whether it is an upper bound only, as it needs the results of the backfill in advance."""
        return any(EVERYTHING in needs for needs in self.results[0].needs.values())


def findings(arguments: argparse.Namespace) -> Findings:
    """Read and compare.

    Raises:
        InputError: no results, or unreadable ones.
    """
    folder = Path(arguments.folder)
    upgrades = load_upgrades(folder)
    results = next(iter(upgrades.values()))
    progress = np.asarray(results[0].progress)
    every = [_row(folder, list(group)) for _, group in groupby(results, key=lambda result: result.name)]
    rows, bounds = ([row for row in every if row.bound is bound] for bound in (False, True))
    if not rows:
        raise InputError(f"folder: every result in {folder} needs {EVERYTHING}, expected a feasible one")
    first = results[0]
    check_size(arguments.gallery_size, first.gallery_items)
    trainings = list({tuple(r.backbones) or r.seed: r for r in results}.values())
    trained = trainings if first.backbones and first.backbones[0] is not None else trainings[:1]
    old, new = (float(np.mean([getattr(r, end)["mean_ap"] for r in trained])) for end in ("old", "new"))
    gains = [r.new["mean_ap"] - r.old["mean_ap"] for r in trained]
    decision = judge(gains, over_seeds(gains), arguments.least_gain) if len(gains) > 1 else None
    chosen, ways, split = compare_rows(rows, old, NEAR * max(new - old, 0.0), arguments)
    picked = next((row for row in rows if row.name == ways[chosen].name), None)
    best = picked or max(rows, key=lambda row: row.values.mean())
    place = MigrationSize(arguments.gallery_size or first.gallery_items, 0, 0, arguments.items_per_second)
    curve = best.values if picked else np.full(len(progress), old)
    flips = np.mean([r.curves.get("negative_flip_rate", [np.nan] * len(r.progress)) for r in best.results], 0)
    found = moments(progress.tolist(), np.array([old]), curve[None], flips[None])
    return Findings(
        name=arguments.name,
        facts=facts(folder, results, upgrades, trained),
        labelled=True,
        least=arguments.least_gain,
        decision=decision,
        unit="trainings",
        old=old,
        new=new,
        chosen=chosen,
        ways=ways,
        glossary=[f"{row.name}: {describe_row(row)}" for row in rows],
        split=split,
        others=other_figures(rows, trained, ways),
        lines=lines(rows, picked, ceiling(bounds, best), progress, (old, new)),
        alternatives=alternatives(place, best, progress, (old, new)),
        gallery=place,
        reached=[(at, gain_reached(progress, curve, old, new, at)) for at in (0.1, 0.25, 0.5)],
        lowest=lowest(found[1:] or found) if picked else None,
        warnings=[] if decision else [LONELY],
        notes=[
            "A folder of results has only means over queries. A report on the embeddings themselves (python -m "
            "benchmarks.export writes them) also shows who loses, distances and duplicates.",
            *note_bounds(bounds),
        ],
    )


def other_figures(rows: list[FolderRow], trained: list[Result], ways: list[Tried]) -> list[NamedFigures]:
    """Return both systems' figures, and the mean over the backfill of each row's, over all queries."""

    def system(end: str) -> dict[str, float]:
        of_each = [getattr(result, end) for result in trained]
        return {name: float(np.mean([of[name] for of in of_each])) for name in of_each[0]}

    def means(row: FolderRow) -> dict[str, float]:
        known = set.intersection(*(set(result.curves) for result in row.results))
        return {name: float(np.mean([area(r.progress, r.curves[name]) for r in row.results])) for name in known}

    by_name = {row.name: means(row) for row in rows}
    of_ways = [NamedFigures(way.name, by_name[way.name]) for way in ways if way.name in by_name]
    return [NamedFigures("old system", system("old")), *of_ways, NamedFigures("new system", system("new"))]


def note_bounds(bounds: list[FolderRow]) -> list[str]:
    """Note the rows excluded as mere bounds."""
    names = ", ".join(dict.fromkeys(row.results[0].order for row in bounds))
    return [f"Orders that need {EVERYTHING} ({names}) are bounds, not feasible ways."] if bounds else []


def ceiling(bounds: list[FolderRow], best: FolderRow) -> FolderRow | None:
    """Return the highest bound of a row's method, if it is above the row."""
    first = best.results[0]
    same = [r for r in bounds if (r.results[0].method, r.results[0].merge) == (first.method, first.merge)]
    highest = max(same, key=lambda row: row.values.mean(), default=None)
    return highest if highest and highest.values.mean() > best.values.mean() else None


def _row(folder: Path, results: list[Result]) -> FolderRow:
    first = results[0]
    areas = [load_query_auc(folder, result) for result in results]
    known = [area for area in areas if area is not None]
    effort = Effort(
        passes=first.encoder_passes_per_query,
        rewrites=first.transforms_gallery,
        training=bool(first.needs.get("method")),
        order=first.order != "random",
        rule=first.merge != "raw",
    )
    values = np.mean([result.mean_ap for result in results], 0)
    same = len(known) == len(areas) and len({len(area) for area in known}) == 1
    return FolderRow(results, values, np.mean(known, 0) if same else None, effort)


def compare_rows(
    rows: list[FolderRow], old: float, near: float, arguments: argparse.Namespace
) -> tuple[int, list[Tried], str]:
    """Return the recommended row, all rows and the switch, best first, and how choice and report were separated."""
    switching = Tried(SWITCH, METHODS[SWITCH], Interval(old, old, old), float("nan"), 1, 0.0)
    known = [row.areas for row in rows if row.areas is not None]
    if len({len(areas) for areas in known}) == 1 and len(known) == len(rows):
        areas = np.stack(known)
        areas = areas[:, np.isfinite(areas).all(0)]
        one, other = halves(areas.shape[1], arguments.seed)
        chosen = choose(areas[:, one], [row.effort for row in rows], near)
        found = bands(areas[:, other].T)
        tries = [
            _tried(row, Interval(*(float(end[place]) for end in found)), float(areas[place, one].mean()))
            for place, row in enumerate(rows)
        ]
        split = (
            f"The way was chosen on {counted(len(one))} queries, a random half; the figures of all ways are measured "
            f"on the other {counted(len(other))}."
        )
    else:
        by_seed = [over_seeds([result.auc for result in row.results]) for row in rows]
        tries = [_tried(row, area, float("nan")) for row, area in zip(rows, by_seed, strict=True)]
        chosen = max(range(len(rows)), key=lambda row: by_seed[row].mean)
        split = (
            "The results have no figures of each query: the way was chosen by the same figures as shown, so the best "
            "one looks slightly better than it is. Intervals are over seeds."
        )
    name = tries[chosen].name if tries[chosen].area.mean > old else SWITCH
    ranked = sorted([switching, *tries], key=lambda way: -way.area.mean)
    return [way.name for way in ranked].index(name), ranked, split


def _tried(row: FolderRow, area: Interval, chosen_by: float) -> Tried:
    return Tried(row.name, describe_row(row), area, chosen_by, row.effort.passes, float(row.effort.rewrites))


def describe_row(row: FolderRow) -> str:
    """Describe a row in words."""
    first = row.results[0]
    text = METHODS.get(first.method) or describe_class(str(first.spec.get("class_path", "")))
    return f"{text} Order: {first.order}; merge rule: {first.merge}; needs: {first.budget}.".strip()


def describe_class(class_path: str) -> str:
    """Return the first sentence of a class's docstring; empty if the class cannot be imported."""
    try:
        found = pkgutil.resolve_name(class_path)
    except ANYTHING:
        return ""
    text = " ".join((found.__doc__ or "").split("\n\n")[0].split())
    return text if text.endswith(".") or not text else f"{text}."


def lines(
    rows: list[FolderRow],
    picked: FolderRow | None,
    most: FolderRow | None,
    progress: np.ndarray,
    ends: tuple[float, float],
) -> list[CurveLine]:
    """Return the curves of the recommended row and of the best others, of the switch, and of the ceiling."""
    best = sorted(rows, key=lambda row: -row.values.mean())
    plain = [row for row in rows if row.name == "independent"]
    shown = list({row.name: row for row in [*([picked] if picked else []), *plain, *best]}.values())
    top = [CurveLine(f"ceiling, not a way: {most.results[0].order}", progress, most.values)] if most else []
    old, new = ends
    return [
        *(CurveLine(row.name, progress, row.values) for row in shown[: DRAWN - 1 - len(top)]),
        CurveLine(SWITCH, np.array([0.0, 1.0, 1.0]), np.array([old, old, new])),
        *top,
    ]


def alternatives(
    place: MigrationSize, row: FolderRow, progress: np.ndarray, ends: tuple[float, float]
) -> list[Alternative]:
    """Return the row, the switch, and no upgrade; a folder lacks the dimensions, but knows the written bytes."""
    first = row.results[0]
    size = place.items / first.gallery_items
    found = [
        backfill(place, progress, row.values, row.effort.passes)._replace(name=f"backfill: {row.name}"),
        switch(place, *ends),
        nothing(place, ends[0]),
    ]
    written = round(first.bytes_per_item * first.gallery_items * size)
    return [found[0]._replace(written=written), *found[1:]]


def facts(
    folder: Path, results: list[Result], upgrades: dict[str, list[Result]], trained: list[Result]
) -> list[tuple[str, str]]:
    """Return terms and values."""
    first = results[0]
    found = [
        ("results", str(folder)),
        ("queries", counted(first.queries)),
        ("gallery items", counted(first.gallery_items)),
        ("trainings of the two models", counted(len(trained))),
    ]
    return [*found, ("upgrade", f"the first of {len(upgrades)}")] if len(upgrades) > 1 else found
