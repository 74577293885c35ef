"""Compare the distance scales of two spaces, on which a merge by distance depends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from compat.embeddings import Embeddings
from compat.engine.exact import Distance, distances

LEVELS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
PAIRS = 2000  # rows of the queries, and of the gallery, at the most


class Space(NamedTuple):
    """Distances in one space: (N,) of pairs of a query and a relevant item, and (M,) of others."""

    relevant: np.ndarray
    others: np.ndarray


class Calibration(NamedTuple):
    """How the distances of two spaces compare.

    Attributes:
        quantiles: (old, new) x (relevant, others) -> the distances at `LEVELS`; no relevant ones without labels.
        old_below_new: probability of an old distance below a new one, for irrelevant pairs drawn independently; 1/2 for
            equal scales.
        old_before_found: probability of ranking an irrelevant unmigrated item before a relevant migrated one; NaN
            without labels. For two equal spaces it equals `old_alone` and `new_alone`.
        new_before_found: probability of ranking an irrelevant migrated item before a relevant unmigrated one.
        old_alone: probability of ranking an irrelevant item before a relevant one in the old space.
        new_alone: likewise in the new space.
    """

    quantiles: dict[tuple[str, str], list[float]]
    old_below_new: float
    old_before_found: float
    new_before_found: float
    old_alone: float
    new_alone: float


def below(a: np.ndarray, b: np.ndarray) -> float:
    """Return the probability of a value of a below one of b, ties counting half; NaN where one is empty.

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
        embeddings: the four matrices, labels or judgements, and groups.
        labelled: whether the labels or judgements are known.
        distance: of the retrieval.
        seed: of the sampled rows.
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
    """Return the distances of the same query-item pairs in the old and in the new space."""
    random = np.random.default_rng(seed)
    queries, items = (
        torch.from_numpy(np.sort(random.permutation(len(rows))[:PAIRS])) for rows in (e.query_old, e.gallery_old)
    )
    kept = e.query_groups[queries, None] != e.gallery_groups[items]
    relevant = e.relevant(queries, items) & kept
    if not labelled:
        relevant = torch.zeros_like(relevant)
    found = []
    for query, gallery in ((e.query_old, e.gallery_old), (e.query_new, e.gallery_new)):
        apart = distances(query[queries], gallery[items], distance)
        found.append(Space(apart[relevant].numpy(), apart[kept & ~relevant].numpy()))
    return found[0], found[1]


def gain_reached(progress: np.ndarray, values: np.ndarray, old: float, new: float, at: float) -> float:
    """Return the share of the old-to-new gain reached at a completion ratio; NaN without a gain."""
    return float((np.interp(at, progress, values) - old) / (new - old)) if new != old else float("nan")
