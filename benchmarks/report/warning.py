"""What should make a reader doubt the figures, each in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.report.inputs import Inputs
from benchmarks.report.numbers import percent, points
from benchmarks.report.ways import MethodCurves
from compat.decision import bands
from compat.decision.calibration import Calibration
from compat.decision.signs import close_rows, equal_rows, zero_rows
from compat.embeddings import Embeddings

if TYPE_CHECKING:
    from benchmarks.report.own import Trial

FEW = 200  # queries
CLASSES = 5
LOOKED_AT = 1000  # rows, in search of duplicates
FAR = 0.2  # of a probability from 1/2


def signs(given: Inputs, trial: Trial, spaces: Calibration, distance: str) -> list[str]:
    """All warnings, those of the data first."""
    return [
        *size(given, trial),
        *zeros(trial.e, distance),
        *twins(trial.e),
        *leaks(given, trial.e),
        *unmergeable(trial, spaces, given.labelled),
    ]


def size(given: Inputs, trial: Trial) -> list[str]:
    """Too few queries or classes, queries without a relevant item, no labels."""
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


def zeros(e: Embeddings, distance: str) -> list[str]:
    """Zero vectors."""
    counts = {n: zero_rows(getattr(e, n).numpy()) for n in ("query_old", "query_new", "gallery_old", "gallery_new")}
    where = ", at the same distance from everything" if distance == "cosine" else ""
    return [
        f"{name} has {count} zero vectors{where}: often images that failed." for name, count in counts.items() if count
    ]


def twins(e: Embeddings) -> list[str]:
    """Queries that are in the gallery under both models, other than as their own group."""
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
        "own "
        "image, name it by --query-groups and --gallery-groups, so that it is not found; else these are duplicates, "
        "which make search look easy."
    ]


def leaks(given: Inputs, e: Embeddings) -> list[str]:
    """Training rows in the gallery."""
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


def unmergeable(trial: Trial, spaces: Calibration, labelled: bool) -> list[str]:
    """Distances of one space that are mostly below the other's, and a plain merge that falls below both systems."""
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
    """What the plain merge finds less, on the way, than the lower of the two systems; nothing where none is sure."""
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
