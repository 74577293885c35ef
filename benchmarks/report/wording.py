"""What is known while measuring, in words: settings, samples, and what own pairs would teach."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report.inputs import Inputs
from benchmarks.report.numbers import between, counted, percent, points
from benchmarks.report.ways import MethodCurves
from compat.decision import bands
from compat.decision.losers import lower_classes
from compat.decision.overlap import NEAREST, overlap_curve
from compat.decision.sample import RowSample

if TYPE_CHECKING:
    from benchmarks.report.own import Trial

SOME = 200  # queries for proxies
SMALL = 0.05  # share of queries whose classes may lose without that it is said with the verdict


def facts(given: Inputs, seen: RowSample, trial: Trial, arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Terms and what they are."""
    arrays = given.arrays
    dims = [arrays[f"gallery_{time}"].shape[1] for time in ("old", "new")]
    queries, items = len(arrays["query_new"]), len(arrays["gallery_new"])
    looked = [f"{counted(len(seen.queries))} of {counted(queries)}", f"{counted(len(seen.items))} of {counted(items)}"]
    found = [
        ("queries looked at", counted(queries) if len(seen.queries) == queries else looked[0]),
        ("gallery items looked at", counted(items) if seen.whole else looked[1]),
        ("numbers in an embedding", f"{dims[0]} old, {dims[1]} new"),
        ("distance", {"cosine": "cosine", "l2": "Euclidean (l2)"}[arguments.distance]),
    ]
    if given.labelled:
        found.append(("classes of the queries", counted(len(trial.e.query_labels[trial.rows].unique()))))
    if "train_old" in given.others:
        found.append(("training pairs", counted(len(given.others["train_old"]))))
    return found


def split(halves: tuple[np.ndarray, np.ndarray]) -> str:
    """How the choice and its report were kept apart."""
    one, other = (counted(len(half)) for half in halves)
    return (
        f"The way was chosen on {one} queries, a random half, and all that is said of it was measured on the other "
        f"{other}, so that it does not look better for having been chosen."
    )


def measured(seen: RowSample, trial: Trial) -> str:
    """Why the curve does not end where the verdict's figures are."""
    some = "" if seen.whole else f" and on {counted(len(seen.items))} items"
    return (
        f"The curve was measured on the {counted(len(trial.halves[1]))} queries of the other half, on which nothing "
        f"was chosen{some}, so its ends differ from the verdict's."
    )


def lower(trial: Trial) -> str:
    """How many classes surely end lower than they began; nothing where few queries are of such."""
    found = lower_classes(trial.e.query_labels[trial.rows].numpy(), trial.start, trial.end)
    if found.share <= SMALL:
        return ""
    of_all = (
        f"{counted(found.lower)} of {counted(found.classes)} classes, with {percent(found.share, 0)} of the queries"
    )
    return f"{of_all}, surely end lower than they began."


def own_pairs(trial: Trial) -> list[str]:
    """What the gallery's own pairs would teach: the learners against the plain merge."""
    reporting = trial.halves[1]
    plain = _find(trial, "independent", "raw")
    learners = [way for way in trial.ways if way.rule == "learned" and way.order == "random"]
    if plain is None or not learners:
        return []
    found = []
    areas = plain.areas(trial.progress)[reporting]
    for way in learners:
        band = bands((way.areas(trial.progress)[reporting] - areas)[:, None])
        change, low, high = (float(end[0]) for end in band)
        verdict = "helps" if low > 0 else "harms" if high < 0 else "makes no difference that can be told"
        if not np.any(way.values != plain.values):
            found.append(
                f"{way.method}: learned nothing that agrees better with the new system, and left all as it was."
            )
            continue
        interval = f"95 % interval {between(low, high)}"
        found.append(f"{way.method}: {verdict}, by {points(change)} on average over the backfill ({interval}).")
    return found


def _find(trial: Trial, method: str, rule: str) -> MethodCurves | None:
    return next((w for w in trial.ways if (w.method, w.order, w.rule) == (method, "random", rule)), None)


def proxies(trial: Trial, labelled: bool, arguments: argparse.Namespace) -> list[str]:
    """How much of what the new system shows the old one shows already."""
    if labelled:
        some = np.sort(np.random.default_rng(0).permutation(len(trial.rows))[:SOME])
        e = trial.e.subset(trial.rows[some])
        shown = overlap_curve(e, np.arange(len(e.gallery_old)), [0.0], distance=arguments.distance)[:, 0]
    else:
        shown = trial.start
    share = float(shown.mean())
    text = (
        f"Of the {NEAREST} items that the new system shows for a query, the old one shows {percent(share)} already; "
        "the "
        "rest of what users see will change, for better or worse."
    )
    chance = NEAREST / len(trial.e.gallery_old)
    if share < 2 * chance:
        text += (
            f" That is hardly more than chance ({percent(chance, 2)}): check that rows of the old and of the new files "
            "are of the same items (--gallery-ids-old and --gallery-ids-new do)."
        )
    return [text]


def notes(seen: RowSample, trial: Trial, labelled: bool, distance: str) -> list[str]:
    """On how this was made."""
    found = [
        "Intervals are of a bootstrap that draws queries with replacement, paired where two systems are compared. They "
        "say what other queries of the same kind would give; the two models, and the gallery, stay as they are.",
        f"{len(trial.ways)} ways were tried, at {len(trial.progress)} moments of the backfill. Between two ways of "
        "which "
        "queries do not say which is better, or that differ by less than a fiftieth of the gain, the one that asks for "
        "less is recommended. "
        + (
            "Methods that learn on the way were tried in random order and in your own, as they learn little from a "
            "beginning of items that are all alike."
            if distance == "cosine"
            else f"Methods that learn on the way compare by cosine, so none was tried with the distance {distance}."
        ),
    ]
    if not seen.whole:
        kept = (
            "all items that are relevant to one of the queries, and others drawn at random. In fewer items it is "
            "easier "
            "to find something, so that levels are too high there"
            if seen.positives and labelled
            else "items drawn at random, relevant ones and others alike. That leaves the share of relevant items among "
            "the nearest about as it is"
        )
        found.append(
            f"The gallery is large: the gain of the new model was measured on all of it, with queries drawn at random, "
            f"but ways were compared on {counted(len(seen.items))} items: {kept}; ways are compared with each other "
            "fairly, but read curves as an estimate."
        )
    return found
