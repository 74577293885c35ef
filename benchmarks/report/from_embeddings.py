"""Findings from the user's embeddings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from benchmarks.embeddings.measure import load_orders, ratios, transformed
from benchmarks.report import gallery, wording
from benchmarks.report.findings import CurveLine, Findings, NamedFigures, Tried
from benchmarks.report.inputs import Inputs, check_size, images_of, names_of
from benchmarks.report.losing import losing, moments_of
from benchmarks.report.trials import Extras, Measuring, ServedEmbeddings, Trial, try_all
from benchmarks.report.ways import SWITCH, MethodCurves, glossary
from compat.curve import area
from compat.decision import Decision, bands, choose, decide, halves, hardly
from compat.decision.agreement import Agreement, agreement
from compat.decision.calendar import Alternative, MigrationSize, backfill, fusion, nothing, switch
from compat.decision.calibration import calibration, gain_reached
from compat.decision.fusion import fused_curve
from compat.decision.sample import RowSample
from compat.embeddings import Embeddings
from compat.orders import Scores
from compat.progress import backfill_steps
from compat.statistics import Interval

FUSED = 300  # queries, and
POINTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # completion ratios, of the fusion of ranks


def findings(given: Inputs, arguments: argparse.Namespace, served: Sequence[ServedEmbeddings] = ()) -> Findings:
    """Measure and compare.

    Args:
        given: the arrays.
        arguments: of the command.
        served: further methods, with embeddings of all queries and items.

    Raises:
        InputError: wrong input.
    """
    check_size(arguments.gallery_size, len(given.arrays["gallery_new"]))
    seen = gallery.draw_sample(given, arguments.queries, arguments.items, arguments.seed)
    classes = names_of(arguments.class_names)
    pictures = images_of("query_images", arguments.query_images, len(given.arrays["query_new"]))
    trial = try_ways(given, seen, arguments, served)
    more = {one.name: one.words for one in served}
    decision, ends = decide_upgrade(given, seen, trial, arguments)
    one = trial.halves[0]
    near = hardly(trial.start[one], trial.end[one])
    chosen = choose(trial.areas[:, one], [way.effort for way in trial.ways], near)
    way = trial.ways[chosen]
    moments = moments_of(trial, way)
    shown = {"images": pictures, "names": classes, "labels": given.arrays.get("query_labels"), "rows": seen.queries}
    fused = fusion_of(trial, arguments) if given.labelled else None
    old, new = ends
    spaces = calibration(trial.e, given.labelled, arguments.distance, arguments.seed)
    place = place_of(given, arguments)
    ranked = rows_of_ways(trial, more)
    return Findings(
        name=arguments.name,
        facts=wording.list_facts(given, seen, trial, arguments),
        labelled=given.labelled,
        least=arguments.least_gain,
        decision=decision,
        unit="queries",
        old=old,
        new=new,
        chosen=[row.name for row in ranked].index(way.name),
        ways=ranked,
        glossary=glossary(trial.ways, more),
        split=wording.describe_split(trial.halves),
        lower=wording.describe_lower_classes(trial) if given.labelled and given.relevance is None else "",
        others=other_figures(trial, ranked),
        measured=wording.describe_measurement(seen, trial) if given.labelled else "",
        lines=lines_of(trial, chosen, fused),
        alternatives=alternatives(place, trial, way, fused),
        gallery=place,
        reached=gain_curve(trial, way),
        lowest=moments.lowest,
        lost=moments.lost,
        **losing(trial, way, moments.lost, shown),
        calibration=spaces,
        own=wording.describe_own_pairs(trial),
        proxies=wording.describe_proxies(trial, given.labelled, arguments),
        agreement=self_agreement(trial, arguments.least_gain) if given.labelled else None,
        warnings=wording.warnings_for(given, trial, spaces, arguments.distance, pictures),
        notes=wording.list_notes(seen, trial, given.labelled, arguments.distance),
    )  # fmt: skip


def gain_curve(trial: Trial, way: MethodCurves) -> list[tuple[float, float]]:
    """Return progress, and the share of the gain there, on the reporting queries; empty without a gain."""
    reporting = trial.halves[1]
    old, new = float(trial.start[reporting].mean()), float(trial.end[reporting].mean())
    curve = way.values[reporting].mean(0)
    shares = [(at, gain_reached(trial.progress, curve, old, new, at)) for at in (0.1, 0.25, 0.5)]
    return shares if new > old else []


def place_of(given: Inputs, arguments: argparse.Namespace) -> MigrationSize:
    """Return the size of the real gallery."""
    return MigrationSize(
        arguments.gallery_size or len(given.arrays["gallery_new"]),
        given.arrays["gallery_old"].shape[1],
        given.arrays["gallery_new"].shape[1],
        arguments.items_per_second,
    )


def try_ways(
    given: Inputs, seen: RowSample, arguments: argparse.Namespace, served: Sequence[ServedEmbeddings] = ()
) -> Trial:
    """Measure every way on the sample."""
    e = gallery.embeddings(given, seen.queries, seen.items, arguments.transform)
    progress = ratios(arguments.progress, len(e.gallery_old))
    measuring = Measuring(e, progress, given.labelled, arguments.distance)
    found = list(try_all(measuring, extras(given, seen, e, arguments)._replace(served=restrict_served(served, seen))))
    rows = np.flatnonzero(np.isfinite(found[0].values[:, 0]))
    if given.labelled:
        gallery.check_evaluated(found[0].values[:, 0], "query_labels" if given.relevance is None else "qrels")
    ways = [replace(way, values=way.values[rows], correct=way.correct[rows]) for way in found]
    areas = np.stack([way.areas(progress) for way in ways])
    return Trial(e, progress, rows, ways, areas, halves(len(rows), arguments.seed))


def restrict_served(served: Sequence[ServedEmbeddings], seen: RowSample) -> list[ServedEmbeddings]:
    """Restrict served embeddings to the sampled queries and items."""
    found = []
    for one in served:
        found.append(one._replace(embeddings=one.embeddings.subset(seen.queries, seen.items)))
    return found


def extras(given: Inputs, seen: RowSample, e: Embeddings, arguments: argparse.Namespace) -> Extras:
    """Collect the optional inputs beside the four matrices, for the sampled rows."""
    total = len(given.arrays["gallery_new"])
    orders = {}
    if arguments.order != "random":
        orders["yours"] = restrict_orders(load_orders(arguments.order, 1, total), seen.items, total)
    if "scores" in given.others:
        scores = Scores(arguments.scores).read(total)[seen.items]
        orders["scores"] = np.argsort(-scores, kind="stable")[None]
    training = None
    if "train_old" in given.others:
        some = np.sort(np.random.default_rng(0).permutation(len(given.others["train_old"]))[: arguments.items])
        training = tuple(given.others[name][torch.from_numpy(some)].float() for name in ("train_old", "train_new"))
    transform = None
    both = "query_old" in given.arrays
    if arguments.transform is not None:
        transform = ("transform", e.query_old if not both else transformed(arguments.transform, e.query_new))
    return Extras(training, transform, orders, arguments.seeds, both)


def restrict_orders(orders: np.ndarray, items: np.ndarray, total: int) -> np.ndarray:
    """Restrict orders of the whole gallery (S, G) to some of its items (S, g).

    Raises:
        InputError: no permutations of the whole gallery.
    """
    backfill_steps(orders, total, np.array([1.0]))
    place = np.full(total, -1)
    place[items] = np.arange(len(items))
    return np.stack([place[order][place[order] >= 0] for order in orders])


def decide_upgrade(
    given: Inputs, seen: RowSample, trial: Trial, arguments: argparse.Namespace
) -> tuple[Decision | None, tuple[float, float]]:
    """Decide about the new model, and return the mAP of both systems; None without labels."""
    start, end = trial.start, trial.end
    if given.labelled and not (seen.whole and len(seen.queries) == len(given.arrays["query_new"])):
        found = gallery.ends(given, seen, arguments.transform, arguments.distance, arguments.seed)
        if found is not None:
            evaluated = np.isfinite(found.old)
            start, end = found.old[evaluated], found.new[evaluated]
    decision = decide(start, end, arguments.least_gain) if given.labelled else None
    return decision, (float(start.mean()), float(end.mean()))


def rows_of_ways(trial: Trial, more: dict[str, str]) -> list[Tried]:
    """Rank the ways by the reporting queries, the best first."""
    choosing, reporting = trial.halves
    found = bands(trial.areas[:, reporting].T)
    rows = [
        Tried(
            way.name,
            way.words(more),
            Interval(float(found.mean[c]), float(found.low[c]), float(found.high[c])),
            float(trial.areas[c, choosing].mean()),
            way.effort.passes,
            way.rewritten,
        )
        for c, way in enumerate(trial.ways)
    ]
    return sorted(rows, key=lambda row: -row.area.mean)


def other_figures(trial: Trial, ranked: Sequence[Tried]) -> list[NamedFigures]:
    """Return both systems' figures, and the mean over the backfill of each way's, over all evaluated queries."""
    if not trial.ways[0].figures:
        return []
    areas = {way.name: {name: area(trial.progress, curve) for name, curve in way.figures.items()} for way in trial.ways}
    old, new = trial.ways[0].figures, trial.ways[1].figures
    return [
        NamedFigures("old system", {name: float(curve[0]) for name, curve in old.items()}),
        *(NamedFigures(way.name, areas[way.name]) for way in ranked if way.name != SWITCH),
        NamedFigures("new system", {name: float(curve[-1]) for name, curve in new.items()}),
    ]


def lines_of(trial: Trial, chosen: int, fused: np.ndarray | None) -> list[CurveLine]:
    """Return the curves of the recommended way, of the plain merge, of the switch, and of the fusion of ranks."""
    reporting = trial.halves[1]
    found = []
    for place in dict.fromkeys([chosen, 1]):
        way = trial.ways[place]
        if way.method != SWITCH:
            found.append(CurveLine(way.name, trial.progress, *bands(way.values[reporting])))
    old, new = trial.start[reporting].mean(), trial.end[reporting].mean()
    found.append(CurveLine(SWITCH, np.array([0.0, 1.0, 1.0]), np.array([old, old, new])))
    if fused is not None:
        found.append(CurveLine("two encoders, ranks fused", np.array(POINTS), fused))
    return found


def fusion_of(trial: Trial, arguments: argparse.Namespace) -> np.ndarray:
    """Return the mAP of rank fusion at `POINTS`, measured on some reporting queries and corrected to all of them."""
    reporting = trial.halves[1]
    some = reporting[np.sort(np.random.default_rng(arguments.seed).permutation(len(reporting))[:FUSED])]
    order = np.random.default_rng((0,)).permutation(len(trial.e.gallery_old))
    precision, _ = fused_curve(trial.e.subset(trial.rows[some]), order, POINTS, arguments.distance)
    return precision.mean(0) + trial.start[reporting].mean() - trial.start[some].mean()


def alternatives(place: MigrationSize, trial: Trial, way: MethodCurves, fused: np.ndarray | None) -> list[Alternative]:
    """Return the recommended way, if it is a backfill, and its alternatives, with the mAP of the reporting queries."""
    reporting = trial.halves[1]
    old, new = float(trial.start[reporting].mean()), float(trial.end[reporting].mean())
    found = [switch(place, old, new)]
    if way.method == SWITCH:
        way = trial.ways[1]
    values = way.values[reporting].mean(0)
    found.insert(
        0,
        backfill(place, trial.progress, values, way.effort.passes, way.rewritten)._replace(
            name=f"backfill: {way.name}"
        ),
    )
    if fused is not None:
        found.append(fusion(place, np.array(POINTS), fused))
    return [*found, nothing(place, old)]


def self_agreement(trial: Trial, least: float) -> Agreement | None:
    """Measure the agreement of this report with itself."""
    efforts = [way.effort for way in trial.ways]
    return agreement(trial.areas, efforts, (trial.start, trial.end), least) if len(trial.rows) >= 20 else None
