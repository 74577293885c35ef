"""The gallery and queries of a report, all or sampled, and the final figures of both systems."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.embeddings.measure import transformed
from benchmarks.report.inputs import Inputs
from compat.backfill import backfill_curve
from compat.decision.sample import RowSample, draw, sample
from compat.embeddings import Embeddings
from compat.engine.exact import Distance
from compat.errors import InputError

PAIRS = 2**29  # of queries and items whose distances the ends of the whole gallery may take


class EndPrecision(NamedTuple):
    """Average precision by the old and by the new system, (Q,) each, NaN for a query without a positive.

    Attributes:
        rows: (Q,) of the queries.
        whole: whether every item of the gallery was searched.
    """

    rows: np.ndarray
    old: np.ndarray
    new: np.ndarray
    whole: bool


def draw_sample(given: Inputs, queries: int, items: int, seed: int) -> RowSample:
    """Draw the rows of the sample."""
    counts = len(given.arrays["query_new"]), len(given.arrays["gallery_new"])
    if (judged := given.relevance) is not None:
        found = judged.at_least(judged.min_grade)

        def relevant(some: np.ndarray) -> np.ndarray:
            return np.isin(np.arange(counts[1]), found.subset(torch.from_numpy(some)).items.numpy())

        return draw(counts, relevant, queries, items, seed)
    if given.labelled:
        of_queries, of_items = (np.asarray(given.arrays[name]) for name in ("query_labels", "gallery_labels"))
    else:
        of_queries, of_items = np.arange(counts[0]), np.arange(counts[1]) + counts[0]
    return sample(of_queries, of_items, queries, items, seed)


def embeddings(given: Inputs, queries: np.ndarray, items: np.ndarray | None, transform: str | None) -> Embeddings:
    """Return the four matrices of some queries and items, None for all; without labels nothing is relevant.

    Without old queries, the transform of the new ones stands for them.
    """
    arrays = {
        name: _some(array, queries if name.startswith("query") else items) for name, array in given.arrays.items()
    }
    if "query_old" not in arrays and transform is not None:
        arrays["query_old"] = transformed(transform, arrays["query_new"])
    if given.relevance is not None:
        chosen = (torch.from_numpy(queries), None if items is None else torch.from_numpy(items))
        return Embeddings(**arrays, relevance=given.relevance.subset(*chosen))
    if not given.labelled:
        count = len(queries)
        arrays["query_labels"] = np.arange(count)
        arrays["gallery_labels"] = np.arange(len(arrays["gallery_new"])) + count
    return Embeddings(**arrays)


def _some(array: Any, rows: np.ndarray | None) -> Any:
    if rows is None or (len(rows) == len(array) and not isinstance(array, np.memmap)):
        return array
    return array[torch.from_numpy(rows)] if isinstance(array, torch.Tensor) else array[rows]


def ends(given: Inputs, seen: RowSample, transform: str | None, distance: Distance, seed: int) -> EndPrecision | None:
    """Evaluate both systems on the whole gallery, using as many queries as memory allows (always including the sample).

    None where the arrays would have to be converted, and so held in memory, as a whole.
    """
    arrays = [given.arrays[name] for name in ("gallery_old", "gallery_new")]
    if not seen.whole and any(str(array.dtype).split(".")[-1] not in ("float32", "float64") for array in arrays):
        return None
    count = len(given.arrays["query_new"])
    most = min(count, max(PAIRS // len(arrays[0]), 100))
    random = np.random.default_rng(seed)  # the same permutation as the sample's
    rows = np.sort(random.permutation(count)[: max(most, len(seen.queries) if seen.whole else 0)])
    e = embeddings(given, rows, None, transform)
    curve = backfill_curve(e, np.arange(len(e.gallery_old)), [0.0, 1.0], distance=distance, per_query=True)
    assert curve.average_precision is not None
    return EndPrecision(rows, curve.average_precision[:, 0, 0], curve.average_precision[:, 0, 1], True)


def check_evaluated(old: np.ndarray, field: str) -> None:
    """Raises InputError for fewer than two queries with a positive, which cannot be halved."""
    if (found := int(np.isfinite(old).sum())) < 2:
        raise InputError(f"{field}: {found} queries with a relevant item, expected two or more")
