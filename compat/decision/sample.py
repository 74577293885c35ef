"""Which queries and items a report looks at where there are too many, and what that does to its figures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class RowSample(NamedTuple):
    """Rows to look at, ascending.

    Attributes:
        queries: (q,) drawn at random: means over them are unbiased.
        items: (g,).
        positives: whether every item that is relevant to one of the queries is among the items.
        whole: whether that is all items.
    """

    queries: np.ndarray
    items: np.ndarray
    positives: bool
    whole: bool


def sample(query_labels: np.ndarray, gallery_labels: np.ndarray, queries: int, items: int, seed: int = 0) -> RowSample:
    """Draw queries, and items for them.

    Where the items that are relevant to the drawn queries are at most half of what may be drawn, all of them are kept,
    and others drawn at random: a search in fewer distractors is easier, so that levels of mAP come out too high. Else
    items are drawn at random regardless: relevant ones and others are thinned alike, which leaves the precision at a
    share of the relevant items as it is, on average.

    Args:
        query_labels: (Q,).
        gallery_labels: (G,).
        queries: to look at, at the most.
        items: likewise.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    some = np.sort(random.permutation(len(query_labels))[:queries])
    count = len(gallery_labels)
    if count <= items:
        return RowSample(some, np.arange(count), True, True)
    relevant = np.isin(gallery_labels, np.unique(query_labels[some]))
    kept = np.flatnonzero(relevant)
    if 2 * len(kept) > items:
        return RowSample(some, np.sort(random.choice(count, items, replace=False)), False, False)
    others = random.choice(np.flatnonzero(~relevant), min(items, count) - len(kept), replace=False)
    return RowSample(some, np.sort(np.concatenate([kept, others])), True, False)
