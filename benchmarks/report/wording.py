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
from compat.decision.domain import share_uncovered
from compat.decision.losers import lower_classes
from compat.decision.overlap import NEAREST, overlap_curve
from compat.decision.sample import RowSample
from compat.decision.signs import close_rows, equal_rows, zero_rows
from compat.embeddings import Embeddings
from compat.engine.exact import Distance

SOME = 200  # queries for proxies
SMALL = 0.05  # share of queries in losing classes, up to which the verdict does not mention them
FEW = 200  # queries
CLASSES = 5
UNCOVERED = 0.7  # share of the gallery without a training pair near; a half with other classes of one domain
LOOKED_AT = 1000  # rows, in search of duplicates
PRODUCTS = (
    10**11
)  # multiplications in search of training rows, some seconds; more rows are looked at where they suffice
FAR = 0.2  # of a probability from 1/2


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
    if (judged := given.relevance) is not None:
        grades = f"{counted(len(judged.items))}, grades up to {int(judged.grades.max())}"
        found.append(("judgements", f"{grades}; relevant from {judged.min_grade}"))
    elif given.labelled:
        found.append(("classes of the queries", counted(len(trial.e.query_labels[trial.rows].unique()))))
    if "train_old" in given.others:
        found.append(("training pairs", counted(len(given.others["train_old"]))))
    return found


def describe_split(halves: tuple[np.ndarray, np.ndarray]) -> str:
    """Say how choice and report were kept apart."""
    one, other = (counted(len(half)) for half in halves)
    return (
        f"The way was chosen on {one} queries, a random half, and measured on the other {other}, so the choice does "
        "not bias its figures."
    )


def describe_measurement(seen: RowSample, trial: Trial) -> str:
    """Explain why the curve's ends differ from the verdict's figures."""
    some = "" if seen.whole else f" and on {counted(len(seen.items))} items"
    return (
        f"The curve was measured on the {counted(len(trial.halves[1]))} queries of the other half, not used for the "
        f"choice{some}, so its ends differ from the verdict's."
    )


def describe_lower_classes(trial: Trial) -> str:
    """Count the classes ending significantly lower than they began; empty if they have few queries."""
    found = lower_classes(trial.e.query_labels[trial.rows].numpy(), trial.start, trial.end)
    if found.share <= SMALL:
        return ""
    of_all = (
        f"{counted(found.lower)} of {counted(found.classes)} classes, with {percent(found.share, 0)} of the queries"
    )
    return f"{of_all}, end significantly lower than they began."


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
        verdict = "helps" if low > 0 else "harms" if high < 0 else "makes no significant difference"
        if not np.any(way.values != plain.values):
            found.append(f"{way.method}: learned nothing closer to the new system, and changed nothing.")
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
        f"The old system already shows {percent(share)} of the {NEAREST} items in the new system's results for a "
        "query; the others will change, for better or worse."
    )
    chance = NEAREST / len(trial.e.gallery_old)
    if share < 2 * chance:
        text += (
            f" This is hardly more than chance ({percent(chance, 2)}): check that equal rows of the old and the new "
            "files are the same items (--gallery-ids-old and --gallery-ids-new do)."
        )
    return [text]


def list_notes(seen: RowSample, trial: Trial, labelled: bool, distance: str) -> list[str]:
    """List notes on the method of this report."""
    found = [
        "Intervals are from a bootstrap over queries, paired when comparing two systems. They describe other queries "
        "of the same kind, for these two models and this gallery.",
        f"{len(trial.ways)} ways were measured at {len(trial.progress)} moments of the backfill. Of two ways without "
        "a significant difference, or with one below a fiftieth of the gain, the simpler one is recommended. "
        + (
            "Online methods were measured in random order and in your own, as they learn little from similar items "
            "at the start."
            if distance == "cosine"
            else f"Online methods compare by cosine, so none was tried with the distance {distance}."
        ),
    ]
    if not seen.whole:
        kept = (
            "all items relevant to one of the queries, and others drawn at random. Searching fewer items is easier, "
            "so their mAP is too high"
            if seen.positives and labelled
            else "items drawn at random, relevant or not, which about keeps the share of relevant items among the "
            "nearest"
        )
        found.append(
            "The gallery is large: the new model's gain was measured on all of it, with sampled queries, but ways "
            f"were compared on {counted(len(seen.items))} items: {kept}. The comparison of ways is fair, but the "
            "curves are estimates."
        )
    return found


def warnings_for(
    given: Inputs, trial: Trial, spaces: Calibration, distance: Distance, images: Sequence[Path]
) -> list[str]:
    """Return all warnings, those of the data first."""
    return [
        *warn_of_size(given, trial),
        *warn_of_zero_vectors(trial.e, distance),
        *warn_of_duplicates(trial.e),
        *warn_of_leaks(given, trial.e),
        *warn_of_other_domain(given, trial.e),
        *warn_of_merge(trial, spaces, given.labelled),
        *warn_of_missing_images(images),
    ]


def warn_of_size(given: Inputs, trial: Trial) -> list[str]:
    """Warn of few queries or classes, queries without a relevant item, no labels."""
    found = []
    if not given.labelled:
        found.append(
            "No labels were given, so the quality of the new system is unknown. The figures below are proxies: the "
            "share of the new system's results already shown."
        )
    count, all_queries = len(trial.rows), len(trial.e.query_old)
    if count < FEW:
        found.append(f"There are {count} queries; below {FEW}, intervals are wide and the choice is rough.")
    if given.labelled and count < all_queries:
        found.append(f"{all_queries - count} of {all_queries} queries have no relevant item and are skipped.")
    if given.relevance is not None:
        found.extend(warn_of_gaps(trial))
    elif given.labelled and (classes := len(trial.e.query_labels[trial.rows].unique())) < CLASSES:
        found.append(f"The queries are of only {classes} classes: other classes may behave differently.")
    return found


def warn_of_gaps(trial: Trial) -> list[str]:
    """Say which share of the items found first has a judgement under either system."""
    shares = [trial.ways[way].figures["judged_10"][end] for way, end in ((0, 0), (1, -1))]
    return [
        f"Of the first ten items, {percent(float(shares[0]), 0)} have a judgement under the old model and "
        f"{percent(float(shares[1]), 0)} under the new one; those without count as irrelevant, also where they are not."
    ]


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
        f"{count} of {len(rows)} queries have an item in the gallery with the same embedding. If it is the query's "
        "own image, exclude it by --query-groups and --gallery-groups; otherwise these are duplicates, which make "
        "the search look easy."
    ]


def warn_of_leaks(given: Inputs, e: Embeddings) -> list[str]:
    """Warn of training rows in the gallery: equal ones in all of it, close ones in a random part of a large one."""
    others = given.others.get("train_old", given.trained_on)
    if others is None:
        return []
    gallery, others = e.gallery_old, others.to(e.gallery_old.dtype)
    most = max(LOOKED_AT, PRODUCTS // others.numel())
    rows = gallery[torch.from_numpy(np.random.default_rng(0).permutation(len(gallery))[:most].copy())]
    close = sum(close_rows(part, others) for part in rows.split(LOOKED_AT))
    equal = equal_rows(gallery.numpy(), others.numpy())
    count, total = max((close, len(rows)), (equal, len(gallery)), key=lambda found: found[0] / found[1])
    if count == 0:
        return []
    return [
        f"{counted(count)} of {counted(total)} items of the gallery are in the training set too, by their old "
        "embedding: trained methods may look better here than on unseen items."
    ]


def warn_of_other_domain(given: Inputs, e: Embeddings) -> list[str]:
    """Warn of training pairs that are no sample of what the gallery holds."""
    if "train_new" not in given.others:
        return []
    share = share_uncovered(given.others["train_new"], e.gallery_new)
    if share < UNCOVERED:
        return []
    return [
        f"{percent(share, 0)} of the gallery have no training pair near: the pairs are of another domain, and "
        "such pairs ruin every transform. Embed some items of the gallery by both models instead."
    ]


def warn_of_merge(trial: Trial, spaces: Calibration, labelled: bool) -> list[str]:
    """Warn of distances mostly below the other space's, and of a plain merge below both systems."""
    far = abs(spaces.old_below_new - 0.5) > FAR
    fall = _fall(trial) if labelled else ""
    apart = (
        "Distances of the two spaces do not mean the same (see the section on them): an old one is below a new one "
        f"with a probability of {percent(spaces.old_below_new, 0)}, so a merge by raw distances prefers one model's "
        "items, whatever they are."
    )
    single = (
        "On average distances of the two spaces mean about the same (see the section on them), but not for each "
        "query, as the two models' errors are independent."
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
        f"Merged by raw distances, the two systems find less than either of them alone: {points(change.mean[at])} "
        f"against the lower one at {percent(trial.progress[inside[at]], 0)} of the backfill."
    )


def warn_of_missing_images(paths: Sequence[Path]) -> list[str]:
    """Warn of missing image files, if there are any."""
    names = [printable(path.name) for path in paths if not path.is_file()]
    found = f"{len(names)} of {len(paths)} images are not there, the first {names[0] if names else ''}; "
    return [f"{found}the report shows their names only."] if names else []
