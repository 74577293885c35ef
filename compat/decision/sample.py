"""Sample queries and items of a large gallery for a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class RowSample(NamedTuple):
    """Sampled rows, ascending.

    Attributes:
        queries: (q,) drawn at random: means over them are unbiased.
        items: (g,).
        positives: whether the items include every relevant item of the queries.
        whole: whether the items are the whole gallery.
    """

    queries: np.ndarray
    items: np.ndarray
    positives: bool
    whole: bool


def sample(query_labels: np.ndarray, gallery_labels: np.ndarray, queries: int, items: int, seed: int = 0) -> RowSample:
    """Draw queries, and items for them, as `draw` does, from labels (Q,) and (G,)."""

    def relevant(some: np.ndarray) -> np.ndarray:
        return np.isin(gallery_labels, np.unique(query_labels[some]))

    return draw((len(query_labels), len(gallery_labels)), relevant, queries, items, seed)


def draw(
    counts: tuple[int, int], relevant_to: Callable[[np.ndarray], np.ndarray], queries: int, items: int, seed: int = 0
) -> RowSample:
    """Draw queries, and items for them.

    If the drawn queries' relevant items fill at most half of the sample, all of them are kept and the rest drawn at
    random: fewer distractors make the search easier, so mAP is too high. Otherwise all items are drawn at random: this
    thins relevant and other items alike, and keeps the precision at a share of the relevant items, on average.

    Args:
        counts: numbers of all queries and items.
        relevant_to: function of rows of queries (q,), whether each item is relevant to one of them, (G,) bool.
        queries: largest number of queries.
        items: largest number of items.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    some = np.sort(random.permutation(counts[0])[:queries])
    count = counts[1]
    if count <= items:
        return RowSample(some, np.arange(count), True, True)
    relevant = relevant_to(some)
    kept = np.flatnonzero(relevant)
    if 2 * len(kept) > items:
        return RowSample(some, np.sort(random.choice(count, items, replace=False)), False, False)
    others = random.choice(np.flatnonzero(~relevant), min(items, count) - len(kept), replace=False)
    return RowSample(some, np.sort(np.concatenate([kept, others])), True, False)
