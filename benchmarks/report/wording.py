"""Sentences about the measurement: settings, samples, own pairs, notes and warnings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.report.inputs import Inputs
from benchmarks.report.numbers import between, counted, percent, points
from benchmarks.report.trials import Trial
from benchmarks.report.ways import MethodCurves
from compat.data.files import printable
from compat.decision import bands
from compat.decision.calibration import Calibration
from compat.decision.losers import lower_classes
from compat.decision.overlap import NEAREST, overlap_curve
from compat.decision.sample import RowSample
from compat.decision.signs import close_rows, equal_rows, zero_rows
from compat.embeddings import Embeddings

SOME = 200  # queries for proxies
SMALL = 0.05  # share of queries in losing classes, up to which the verdict does not mention them


def list_facts(given: Inputs, seen: RowSample, trial: Trial, arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Return terms and values."""
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


def describe_split(halves: tuple[np.ndarray, np.ndarray]) -> str:
    """Say how choice and report were kept apart."""
    one, other = (counted(len(half)) for half in halves)
    return (
        f"The way was chosen on {one} queries, a random half, and all that is said of it was measured on the other "
        f"{other}, so that it does not look better for having been chosen."
    )


def describe_measurement(seen: RowSample, trial: Trial) -> str:
    """Explain why the curve's ends differ from the verdict's figures."""
    some = "" if seen.whole else f" and on {counted(len(seen.items))} items"
    return (
        f"The curve was measured on the {counted(len(trial.halves[1]))} queries of the other half, on which nothing "
        f"was chosen{some}, so its ends differ from the verdict's."
    )


def describe_lower_classes(trial: Trial) -> str:
    """Count the classes ending significantly lower than they began; empty if they have few queries."""
    found = lower_classes(trial.e.query_labels[trial.rows].numpy(), trial.start, trial.end)
    if found.share <= SMALL:
        return ""
    of_all = (
        f"{counted(found.lower)} of {counted(found.classes)} classes, with {percent(found.share, 0)} of the queries"
    )
    return f"{of_all}, surely end lower than they began."


def describe_own_pairs(trial: Trial) -> list[str]:
    """Compare the online methods with the plain merge."""
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


def describe_proxies(trial: Trial, labelled: bool, arguments: argparse.Namespace) -> list[str]:
    """Give the share of the new system's results already shown by the old one."""
    if labelled:
        some = np.sort(np.random.default_rng(0).permutation(len(trial.rows))[:SOME])
        e = trial.e.subset(trial.rows[some])
        shown = overlap_curve(e, np.arange(len(e.gallery_old)), [0.0], distance=arguments.distance)[:, 0]
    else:
        shown = trial.start
    share = float(shown.mean())
    text = (
        f"Of the {NEAREST} items that the new system shows for a query, the old one shows {percent(share)} already; "
        "the rest of what users see will change, for better or worse."
    )
    chance = NEAREST / len(trial.e.gallery_old)
    if share < 2 * chance:
        text += (
            f" That is hardly more than chance ({percent(chance, 2)}): check that rows of the old and of the new files "
            "are of the same items (--gallery-ids-old and --gallery-ids-new do)."
        )
    return [text]


def list_notes(seen: RowSample, trial: Trial, labelled: bool, distance: str) -> list[str]:
    """List notes on the method of this report."""
    found = [
        "Intervals are of a bootstrap that draws queries with replacement, paired where two systems are compared. They "
        "say what other queries of the same kind would give; the two models, and the gallery, stay as they are.",
        f"{len(trial.ways)} ways were tried, at {len(trial.progress)} moments of the backfill. Between two ways of "
        "which queries do not say which is better, or that differ by less than a fiftieth of the gain, the one that "
        "asks for less is recommended. "
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
            "easier to find something, so that levels are too high there"
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


FEW = 200  # queries
CLASSES = 5
LOOKED_AT = 1000  # rows, in search of duplicates
FAR = 0.2  # of a probability from 1/2


def warnings_for(given: Inputs, trial: Trial, spaces: Calibration, distance: str, images: Sequence[Path]) -> list[str]:
    """Return all warnings, those of the data first."""
    return [
        *warn_of_size(given, trial),
        *warn_of_zero_vectors(trial.e, distance),
        *warn_of_duplicates(trial.e),
        *warn_of_leaks(given, trial.e),
        *warn_of_merge(trial, spaces, given.labelled),
        *warn_of_missing_images(images),
    ]


def warn_of_size(given: Inputs, trial: Trial) -> list[str]:
    """Warn of few queries or classes, queries without a relevant item, no labels."""
    found = []
    if not given.labelled:
        found.append(
            "No labels were given: nobody can say whether what the new system finds is better. Figures below are "
            "proxies: how much of what the new system will show is shown already."
        )
    count, all_queries = len(trial.rows), len(trial.e.query_old)
    if count < FEW:
        found.append(f"There are {count} queries; with fewer than {FEW}, intervals are wide and the choice is rough.")
    if given.labelled and count < all_queries:
        found.append(f"{all_queries - count} of {all_queries} queries have no relevant item and are left out.")
    if given.labelled and (classes := len(trial.e.query_labels[trial.rows].unique())) < CLASSES:
        found.append(f"The queries are of {classes} classes only: others may behave otherwise.")
    return found


def warn_of_zero_vectors(e: Embeddings, distance: str) -> list[str]:
    """Warn of zero vectors."""
    counts = {n: zero_rows(getattr(e, n).numpy()) for n in ("query_old", "query_new", "gallery_old", "gallery_new")}
    where = ", at the same distance from everything" if distance == "cosine" else ""
    return [
        f"{name} has {count} zero vectors{where}: often images that failed." for name, count in counts.items() if count
    ]


def warn_of_duplicates(e: Embeddings) -> list[str]:
    """Warn of queries occurring in the gallery under both models, other than as their own group."""
    rows = torch.from_numpy(np.random.default_rng(0).permutation(len(e.query_old))[:LOOKED_AT].copy())
    own = e.query_groups[rows, None] == e.gallery_groups
    count = min(
        close_rows(query[rows], gallery, own)
        for query, gallery in ((e.query_old, e.gallery_old), (e.query_new, e.gallery_new))
    )
    if count == 0:
        return []
    return [
        f"{count} of {len(rows)} queries have an item in the gallery with the same embedding. If that is the query's "
        "own image, name it by --query-groups and --gallery-groups, so that it is not found; else these are "
        "duplicates, which make search look easy."
    ]


def warn_of_leaks(given: Inputs, e: Embeddings) -> list[str]:
    """Warn of training rows in the gallery."""
    if "train_old" not in given.others:
        return []
    rows = e.gallery_old[torch.from_numpy(np.random.default_rng(0).permutation(len(e.gallery_old))[:LOOKED_AT].copy())]
    others = given.others["train_old"].to(rows.dtype)
    count = max(close_rows(rows, others), equal_rows(rows.numpy(), others.numpy()))
    if count == 0:
        return []
    return [
        f"{count} of {len(rows)} items of the gallery are in the training set too, by their old embedding: what was "
        "learned from it may look better here than on items that it has not seen."
    ]


def warn_of_merge(trial: Trial, spaces: Calibration, labelled: bool) -> list[str]:
    """Warn of distances mostly below the other space's, and of a plain merge below both systems."""
    far = abs(spaces.old_below_new - 0.5) > FAR
    fall = _fall(trial) if labelled else ""
    apart = (
        "Distances of the two spaces do not mean the same (see the section on them): an old one is below a new one "
        f"with a probability of {percent(spaces.old_below_new, 0)}, so that a merge by distances as they are prefers "
        "items of one model, whatever they are."
    )
    single = (
        "On average distances of the two spaces mean about the same (see the section on them); for a single query they "
        "need not, as errors of the two models do not go together."
    )
    return [" ".join(filter(None, [fall, apart if far else single]))] if far or fall else []


def _fall(trial: Trial) -> str:
    """Describe a plain merge falling significantly below the lower of the two systems; else empty."""
    way: MethodCurves = trial.ways[1]
    inside = np.flatnonzero((trial.progress > 0) & (trial.progress < 1))
    if way.method != "independent" or len(inside) == 0:
        return ""
    lower = min(trial.start, trial.end, key=lambda values: float(values.mean()))
    change = bands(way.values[:, inside] - lower[:, None])
    at = int(change.mean.argmin())
    if change.high[at] >= 0:
        return ""
    return (
        "Merged by distances as they are, the two systems find less than either of them alone: "
        f"{points(change.mean[at])} against the lower one at {percent(trial.progress[inside[at]], 0)} of the backfill."
    )


def warn_of_missing_images(paths: Sequence[Path]) -> list[str]:
    """Warn of missing image files, if there are any."""
    names = [printable(path.name) for path in paths if not path.is_file()]
    found = f"{len(names)} of {len(paths)} images are not there, the first {names[0] if names else ''}; "
    return [f"{found}what is said of them is said without a picture."] if names else []
