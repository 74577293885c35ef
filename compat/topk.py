"""The replay for galleries too large for full rankings, by faiss searches of each part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor

from compat.curve import area
from compat.embeddings import Embeddings, warn_of_directions
from compat.engine.exact import Distance, KeptSample, Queries
from compat.engine.nearest import MEMORY, IndexedSpace
from compat.engine.samples import draw, standardised, standards
from compat.errors import InputError
from compat.merge import Merge, QueryZScore
from compat.progress import backfill_steps, completion_ratios

DISCOUNT = 1 / torch.arange(2, 12, dtype=torch.float64).log2()  # of the ranks 1 to 10


@dataclass(frozen=True)
class TopkCurve:
    """Result of `topk_curve`; figures are fractions, means over the queries with a positive.

    Attributes:
        progress: (T,) completion ratios.
        mean_ap: (T,) mAP@k.
        ndcg: (T,) nDCG@10, of the first k where k is fewer.
        cmc: j -> (T,) CMC@j.
        negative_flip_rate: (T,) share of queries correct at rank 1 at the first ratio and wrong at this one.
        recall: (T,) recall of a flat index's k nearest items; 1 for "Flat".
        k: length of the ranked list.
        index: the faiss index_factory string.
        queries: number of queries evaluated.
        queries_without_positive: number of queries skipped.
    """

    progress: np.ndarray
    mean_ap: np.ndarray
    ndcg: np.ndarray
    cmc: Mapping[int, np.ndarray]
    negative_flip_rate: np.ndarray
    recall: np.ndarray
    k: int
    index: str
    queries: int
    queries_without_positive: int

    @property
    def auc(self) -> float:
        """Area under the mAP@k curve by the trapezoidal rule, divided by the range of progress."""
        return area(self.progress, self.mean_ap)


def topk_curve(
    embeddings: Embeddings,
    order: Any,
    progress: Any = 11,
    *,
    k: int = 100,
    top_k: tuple[int, ...] = (1, 5),
    distance: Distance = "cosine",
    merge: Merge | None = None,
    index: str = "Flat",
    search: str = "",
    recall_queries: int = 1000,
) -> TopkCurve:
    """Replay a backfilling as `backfill_curve` does, ranking only the k items nearest to each query.

    At each completion ratio one index holds the items not yet backfilled, in the old space, and another the
    backfilled ones, in the new space. Both are searched, items of the query's group dropped and the two lists
    merged by distance rank merge. The candidates' distances are computed anew as in `backfill_curve`, in float64
    rounded to float32.

    AP@k is the sum, over the relevant items among the k, of the precision at each, divided by min(P, k) for a
    query with P relevant non-ignored items in the gallery: the denominator of mAP@100 in Google Landmarks
    Retrieval. Equally distant items of the list are one group, and CMC@j counts every non-relevant item of the
    list at the first relevant one's distance before it, so with k >= G both equal those of `backfill_curve`.
    faiss searches in float32: of the items tied with the k-th at this precision it keeps some.

    Recall is the share of the list no farther than the last item of a flat index's list; ties count as
    found. Where it is low mAP@k may come out too high as well as too
    low, since wrong items are missed too.

    Embeddings are read on the CPU. Indexes move to the GPUs if faiss has any and supports them there.

    Args:
        embeddings: the four matrices, labels or judgements, and groups; grades below `min_grade` count as none.
        order: a permutation of the gallery, (G,).
        progress: the completion ratios, (T,), ascending, in [0, 1]; or their number, from 0 to 1.
        k: length of the ranked list.
        top_k: the cut-offs of CMC@j, at most k.
        distance: "cosine", or "l2" between the embeddings as they are.
        merge: `QueryZScore`, or None: by raw distances.
        index: a faiss index_factory string; trained, if needed, on the whole gallery, in each space.
        search: faiss's search-time parameters, such as "nprobe=16" or "efSearch=64".
        recall_queries: number of evenly spaced queries for measuring the recall.

    Returns:
        The `TopkCurve`.

    Raises:
        InputError: several orders or no permutation, a wrong completion ratio, a cut-off beyond k, another merge rule,
            an index unknown to faiss or not trainable on this gallery or with these parameters, no query
            with a positive.

    Example:
        >>> space = torch.eye(4)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> curve = topk_curve(Embeddings(space, space, space, space, labels, labels), range(4), k=2, top_k=(1,))
        >>> curve.cmc[1].tolist() == [1.0] * 11
        True
    """
    e, items = embeddings, len(embeddings.gallery_old)
    points = completion_ratios(progress)
    if np.ndim(order) != 1:
        raise InputError(f"order: shape {np.shape(order)}, expected one permutation, ({items},)")
    backfill_steps(order, items, points)
    _check(k, top_k, distance, recall_queries, merge)
    if distance == "cosine":
        warn_of_directions(e)
    faiss.omp_set_num_threads(torch.get_num_threads())
    groups = e.query_groups.cpu(), e.gallery_groups.cpu()
    ignored = _occurrences(*groups)
    judged = _Judged(e, groups)
    positives = judged.positives
    evaluated = positives.nonzero()[:, 0]
    if len(evaluated) == 0:
        field = "query_labels" if e.relevance is None else "relevance"
        raise InputError(
            f"{field}: none of the {len(positives)} queries has a relevant gallery item, expected one or more"
        )
    wanted = min(k + int(ignored[evaluated].max()), items)
    spaces = (e.query_old, e.gallery_old), (e.query_new, e.gallery_new)
    parts = [IndexedSpace(*space, distance, index, search, wanted) for space in spaces]
    flat = [] if index == "Flat" else [IndexedSpace(*space, distance, "Flat", "", wanted) for space in spaces]
    sampled = torch.zeros(len(positives), dtype=torch.bool)
    sampled[evaluated[np.linspace(0, len(evaluated) - 1, min(len(evaluated), recall_queries)).astype(int)]] = True

    rule = merge if isinstance(merge, QueryZScore) else None
    samples = None if rule is None else draw(rule, order, points, e)[0]
    width = wanted if rule is None else wanted + rule.size
    permutation = torch.from_numpy(np.array(order, dtype=np.int64))
    mean_ap, ndcg, recall, flips = (np.zeros(len(points)) for _ in range(4))
    correct = torch.zeros(len(positives), dtype=torch.bool)  # at the first ratio
    cmc = {j: np.zeros(len(points)) for j in top_k}
    before = 0
    for point, count in enumerate(np.floor(points * items).astype(np.int64).tolist()):
        for old, new in (parts, flat) if flat else (parts,):
            old.reset()
            old.add(permutation[count:])
            new.add(permutation[before:count])
        before = count
        for rows in evaluated.split(max(1, MEMORY // (128 * width))):
            scales = None if samples is None else _scales(e, rows, samples, point, distance)
            distances, found = _merged(parts, rows, groups, k, wanted, scales)
            grades = judged.grades(rows, found).where(distances.isfinite(), 0)
            precision, first = _figures(distances, grades >= judged.min_grade)
            ndcg[point] += float((_gained(distances, grades) / judged.best[rows]).sum())
            mean_ap[point] += float((precision / positives[rows].clamp_max(k)).sum())
            if point == 0:
                correct[rows] = first == 1
            flips[point] += int((correct[rows] & (first != 1)).sum())
            for j in cmc:
                cmc[j][point] += int(((first > 0) & (first <= j)).sum())
            if flat and (sample := sampled[rows]).any():
                own = None if scales is None else scales[sample]
                exact, _ = _merged(flat, rows[sample], groups, k, wanted, own)
                known = exact.isfinite()
                last = exact.where(known, -torch.inf).amax(1, keepdim=True)
                recall[point] += float(((distances[sample] <= last).sum(1) / known.sum(1)).double().sum())
    return TopkCurve(
        progress=points,
        mean_ap=mean_ap / len(evaluated),
        ndcg=ndcg / len(evaluated),
        cmc={j: hits / len(evaluated) for j, hits in cmc.items()},
        negative_flip_rate=flips / len(evaluated),
        recall=recall / int(sampled.sum()) if flat else np.ones(len(points)),
        k=k,
        index=index,
        queries=len(evaluated),
        queries_without_positive=len(positives) - len(evaluated),
    )


def _check(k: int, top_k: tuple[int, ...], distance: str, recall_queries: int, merge: Merge | None) -> None:
    for name, value in (("k", k), ("recall_queries", recall_queries), *(("top_k", j) for j in top_k)):
        if value < 1:
            raise InputError(f"{name}: {value}, expected at least 1")
    if top_k and max(top_k) > k:
        raise InputError(f"top_k: {max(top_k)}, expected at most k = {k}")
    if distance not in ("cosine", "l2"):
        raise InputError(f"distance: {distance!r}, expected cosine or l2")
    if merge is not None and merge.changes and not merge.by_query:
        raise InputError(f"merge: {type(merge).__name__} of cut-off lists, expected QueryZScore or none")


def _occurrences(queries: Tensor, gallery: Tensor) -> Tensor:
    """Count each query's value, (Q,), in the gallery's, (G,): (Q,) int64."""
    values, counts = gallery.unique(return_counts=True)
    at = torch.searchsorted(values, queries).clamp_max(len(values) - 1)
    return counts[at].where(values[at] == queries, 0)


class _Judged:
    """The grades of pairs of queries and items, by labels 1; those of ignored items do not count.

    Attributes:
        min_grade: the lowest grade of a relevant item.
        positives: (Q,) number of each query's relevant items.
        best: (Q,) float64, the largest sum of gain times discount over `DISCOUNT`'s ranks.
    """

    def __init__(self, e: Embeddings, groups: tuple[Tensor, Tensor]) -> None:
        self.labels: tuple[Tensor, Tensor] | None = None
        self.min_grade = 1
        if e.relevance is None:
            self.labels = e.query_labels.cpu(), e.gallery_labels.cpu()
            self.positives = _occurrences(*self.labels) - _occurrences(*_pairs(self.labels, groups))
            self.best = torch.cat([DISCOUNT.new_zeros(1), DISCOUNT.cumsum(0)])[self.positives.clamp_max(len(DISCOUNT))]
            return
        judged = e.relevance.to("cpu").at_least(1)
        self.items, self.min_grade = judged.shape[1], judged.min_grade
        self.pairs, order = (judged.queries * self.items + judged.items).sort()
        self.grade = judged.grades[order]
        kept = groups[0][judged.queries] != groups[1][judged.items]
        relevant = judged.queries[kept & (judged.grades >= self.min_grade)]
        self.positives = relevant.bincount(minlength=judged.shape[0])
        self.best = _best(judged.queries[kept], judged.grades[kept], judged.shape[0])

    def grades(self, rows: Tensor, items: Tensor) -> Tensor:
        """Return the grades of items (N, K) for queries (N,), 0 without one."""
        if self.labels is not None:
            return (self.labels[1][items] == self.labels[0][rows, None]).long()
        wanted = rows[:, None] * self.items + items
        at = torch.searchsorted(self.pairs, wanted).clamp_max(len(self.pairs) - 1)
        return self.grade[at].where(self.pairs[at] == wanted, 0)


def _best(queries: Tensor, grades: Tensor, count: int) -> Tensor:
    """Return the largest sum of gain times discount of each of `count` queries, (Q,), from all its pairs."""
    order = grades.argsort(descending=True)
    order = order[queries[order].argsort(stable=True)]
    queries, grades = queries[order], grades[order]
    number = torch.arange(len(queries)) - torch.searchsorted(queries, queries)
    worth = grades * torch.cat([DISCOUNT, DISCOUNT.new_zeros(1)])[number.clamp_max(len(DISCOUNT))]
    return DISCOUNT.new_zeros(count).index_add(0, queries, worth)


def _pairs(labels: tuple[Tensor, Tensor], groups: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Number each pair of label and group, of the queries (Q,) and of the gallery (G,)."""
    label, group = (torch.cat(values).unique(return_inverse=True)[1] for values in (labels, groups))
    query, gallery = (label * (group.max() + 1) + group).split([len(values) for values in labels])
    return query, gallery


def _scales(e: Embeddings, rows: Tensor, samples: KeptSample, point: int, distance: Distance) -> Tensor:
    """Return the scales of these queries (N,) at a completion ratio, (N, 2, 2), see `standards`."""
    queries = Queries(*(values[rows].cpu() for values in (e.query_old, e.query_new, e.keys, e.query_groups)))
    here = samples.chosen[point]
    old, new, groups = (values[here].cpu() for values in samples[:3])
    sample = KeptSample(old, new, groups, torch.ones(1, len(old), dtype=torch.bool))
    return standards([sample], queries, distance)[0, 0]


def _merged(
    parts: list[IndexedSpace],
    rows: Tensor,
    groups: tuple[Tensor, Tensor],
    k: int,
    wanted: int,
    scales: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Merge the k nearest items to these queries (N,) of both parts: ascending distances, padded with inf, and rows.

    Distances are standardised by the scales (N, 2, 2), if there are any.
    """
    searched = [(space, part.search(rows, wanted)) for space, part in enumerate(parts) if len(part.items)]
    lists = [d if scales is None else standardised(d, scales[:, space]) for space, (d, _) in searched]
    distances, items = torch.cat(lists, 1), torch.cat([found for _, (_, found) in searched], 1)
    ignored = groups[1][items] == groups[0][rows, None]
    nearest, at = distances.masked_fill_(ignored, torch.inf).sort(1)
    return nearest[:, :k].contiguous(), items.gather(1, at[:, :k])


def _gained(distances: Tensor, grades: Tensor) -> Tensor:
    """Sum gain times discount over the first items of ascending lists (N, k); ties are by grade, the lowest first."""
    grades, order = grades.sort(dim=1, stable=True)
    order = distances.gather(1, order).argsort(dim=1, stable=True)
    first = grades.gather(1, order[:, : len(DISCOUNT)])
    return (first * DISCOUNT[: first.shape[1]]).sum(1)


def _figures(distances: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the precisions at the relevant items, and find the first one's rank or 0, of ascending lists (N, k)."""
    rank = torch.searchsorted(distances, distances, right=True)
    among = relevant.cumsum(1).gather(1, rank - 1)
    precision = (among.double() / rank).where(relevant, 0.0).sum(1)
    nearest = relevant.int().argmax(1, keepdim=True)
    first = 1 + (rank - among).gather(1, nearest)[:, 0]
    return precision, first.where(relevant.any(1), 0)
