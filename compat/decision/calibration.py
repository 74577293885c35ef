"""Whether the distances of two spaces mean the same: what a merge by distance rests on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from compat.embeddings import Embeddings
from compat.engine.exact import Distance, distances

LEVELS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
PAIRS = 2000  # rows of the queries, and of the gallery, at the most


class Space(NamedTuple):
    """Distances in one space, (N,) of pairs of a query and an item that is relevant to it, and (M,) of others."""

    relevant: np.ndarray
    others: np.ndarray


class Calibration(NamedTuple):
    """How two spaces compare.

    Attributes:
        quantiles: (old, new) x (relevant, others) -> the distances at `LEVELS`; no relevant ones without labels.
        old_below_new: probability that an old distance is below a new one, of irrelevant pairs, drawn independently;
            1/2 if both mean the same.
        old_before_found: probability that an irrelevant item that is not migrated stands before a relevant one that
            is; NaN without labels. Of two equal spaces it would be that of either.
        new_before_found: that an irrelevant migrated item stands before a relevant one that is not.
        old_alone: that an irrelevant item stands before a relevant one in the old space.
        new_alone: in the new one.
    """

    quantiles: dict[tuple[str, str], list[float]]
    old_below_new: float
    old_before_found: float
    new_before_found: float
    old_alone: float
    new_alone: float


def below(a: np.ndarray, b: np.ndarray) -> float:
    """The probability that a value of a is below one of b, equal ones counting half; NaN where there is none.

    Example:
        >>> below(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
        0.875
    """
    if len(a) == 0 or len(b) == 0:
        return float("nan")
    ordered = np.sort(a)
    less, most = (np.searchsorted(ordered, b, side=side).sum(dtype=np.float64) for side in ("left", "right"))
    return float((less + most) / 2 / len(a) / len(b))


def calibration(embeddings: Embeddings, labelled: bool, distance: Distance = "cosine", seed: int = 0) -> Calibration:
    """Compare the distances of the two spaces, on up to `PAIRS` queries and items.

    Args:
        embeddings: the four matrices, labels and groups.
        labelled: whether the labels are known.
        distance: of the retrieval.
        seed: of the rows that are looked at.
    """
    old, new = spaces(embeddings, labelled, distance, seed)
    quantiles = {
        (name, kind): np.quantile(values, LEVELS).tolist()
        for name, space in (("old", old), ("new", new))
        for kind, values in (("relevant", space.relevant), ("others", space.others))
        if len(values)
    }
    return Calibration(
        quantiles,
        below(old.others, new.others),
        below(old.others, new.relevant),
        below(new.others, old.relevant),
        below(old.others, old.relevant),
        below(new.others, new.relevant),
    )


def spaces(e: Embeddings, labelled: bool, distance: Distance, seed: int) -> tuple[Space, Space]:
    """The distances of some queries to some items in the old and in the new space, of the same pairs."""
    random = np.random.default_rng(seed)
    queries, items = (
        torch.from_numpy(np.sort(random.permutation(len(rows))[:PAIRS])) for rows in (e.query_old, e.gallery_old)
    )
    kept = e.query_groups[queries, None] != e.gallery_groups[items]
    relevant = (e.query_labels[queries, None] == e.gallery_labels[items]) & kept
    if not labelled:
        relevant = torch.zeros_like(relevant)
    found = []
    for query, gallery in ((e.query_old, e.gallery_old), (e.query_new, e.gallery_new)):
        apart = distances(query[queries], gallery[items], distance)
        found.append(Space(apart[relevant].numpy(), apart[kept & ~relevant].numpy()))
    return found[0], found[1]


def gain_reached(progress: np.ndarray, values: np.ndarray, old: float, new: float, at: float) -> float:
    """Share of the way from the old system to the new one at a completion ratio; NaN where there is none to go."""
    return float((np.interp(at, progress, values) - old) / (new - old)) if new != old else float("nan")
