"""The backfill curve: retrieval during a backfill, from four matrices and an order of the gallery."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist

from compat.curve import area
from compat.curve_metrics import CurveMetric, select_metrics
from compat.curve_sums import OldSystem, curve_sums, of_all_processes
from compat.embeddings import Embeddings, warn_of_directions
from compat.engine.exact import Distance, EngineGallery, KeptSample, Queries
from compat.engine.replay import Backend
from compat.engine.samples import draw
from compat.errors import InputError
from compat.merge import Merge, QueryZScore
from compat.progress import backfill_steps, completion_ratios


@dataclass(frozen=True)
class Curve:
    """The result of `backfill_curve`; figures are fractions, means over the queries that have a positive.

    Attributes:
        progress: (T,) completion ratios.
        figures: name of a metric, see `compat.curve_metrics` -> (S, T), one row per order.
        queries: number of queries evaluated.
        queries_without_positive: number of queries skipped.
        average_precision: (Q, S, T) of each query (NaN if skipped), or None if not asked for.
        first_rank: (Q, S, T), rank of each query's first positive (0 if skipped), or None if not asked for.
    """

    progress: np.ndarray
    figures: Mapping[str, np.ndarray]
    queries: int
    queries_without_positive: int
    average_precision: np.ndarray | None = None
    first_rank: np.ndarray | None = None

    def mean(self, metric: str) -> np.ndarray:
        """Average a metric over the orders, (T,)."""
        return self.figures[metric].mean(0)

    @property
    def mean_ap(self) -> np.ndarray:
        """(T,) mAP, the mean over the orders."""
        return self.mean("mean_ap")

    @property
    def cmc(self) -> dict[int, np.ndarray]:
        """Cut-off k -> (T,) CMC@k, the mean over the orders."""
        return {int(name[4:]): self.mean(name) for name in self.figures if re.fullmatch("cmc_[0-9]+", name)}

    @property
    def negative_flip_rate(self) -> np.ndarray:
        """(T,) share of queries correct at rank 1 before and wrong now, the mean over the orders."""
        return self.mean("negative_flip_rate")

    @property
    def auc(self) -> float:
        """Area under the mAP curve by the trapezoidal rule, divided by the range of progress."""
        return area(self.progress, self.mean_ap)


def joined(curves: Sequence[Curve], axis: int) -> Curve:
    """Concatenate curves of the same queries along orders (axis 0) or completion ratios (axis 1)."""

    def all_of(name: str) -> np.ndarray | None:
        parts = [getattr(curve, name) for curve in curves]
        return None if any(part is None for part in parts) else np.concatenate(parts, axis + 1)

    return replace(
        curves[0],
        progress=np.concatenate([curve.progress for curve in curves]) if axis else curves[0].progress,
        figures={name: np.concatenate([c.figures[name] for c in curves], axis) for name in curves[0].figures},
        average_precision=all_of("average_precision"),
        first_rank=all_of("first_rank"),
    )


def backfill_curve(
    embeddings: Embeddings | Sequence[Embeddings],
    order: Any,
    progress: Any = 11,
    *,
    top_k: tuple[int, ...] = (1, 5),
    metrics: Iterable[str] | Mapping[str, CurveMetric] = (),
    distance: Distance = "cosine",
    merge: Merge | None = None,
    backend: Backend = "auto",
    query_chunk: int | None = None,
    shard: Literal["queries", "gallery"] | None = None,
    correct_before: Any = None,
    before: Embeddings | Sequence[Embeddings] | None = None,
    per_query: bool = False,
    show_progress: bool = False,
) -> Curve:
    """Replay a backfill by distance rank merge and measure retrieval at each completion ratio.

    At ratio p the first floor(p * G) items of the order are backfilled (in floating point, so 0.29 * 100 gives 28). A
    backfilled item's distance is the new-space one, any other's the old-space one, and all items are ranked by it
    (arXiv 2301.03767). All completion ratios and orders come from one pass over the distances; no array of Q x G
    elements is made.

    mAP is non-interpolated, with all relevant non-ignored items in the denominator; equally distant items are one
    group, as in scikit-learn's `average_precision_score`. CMC@k is the share of queries whose first relevant item has a
    rank <= k; that rank counts every non-relevant item at its distance before it. Hence nothing depends on the order of
    the gallery's rows. Queries without a relevant item are skipped and counted. A query to which every item is relevant
    has an average precision of 1; a zero vector is at cosine distance 1 from everything.

    Distances are computed in float64 and rounded to float32: equal embeddings are equally far on every backend, for any
    division into chunks and processes, and all counts agree exactly.

    Several processes (`torchrun`, any `torch.distributed` group): each passes its own part, and all return the curve of
    the whole. With shard="queries" each has the whole gallery and its own queries; with "gallery" all queries and its
    own rows, and `order` numbers the rows of all processes by rank, one after the other. Positives' distances are then
    gathered, and integer histograms added.

    A gallery may come in parts whose items are in different spaces before their backfill, as when an upgrade starts
    before the previous one has ended. Each part has the same queries in the same order, with its own `query_old`;
    `order` numbers the items of all parts one after the other.

    Args:
        embeddings: the four matrices, labels or judgements, and groups; or a list of them, one per part of the gallery.
        order: a permutation of the gallery, (G,), or several, (S, G).
        progress: the completion ratios, (T,), ascending, in [0, 1]; or how many, from 0 to 1.
        top_k: the cut-offs of CMC@k.
        metrics: further ones beside mAP, CMC@k and negative flips: names of `compat.curve_metrics.CURVE_METRICS`, or
            metrics by name. All come from the same pass; some read every relevant item's rank, which takes more time.
        distance: "cosine", or "l2" between raw embeddings.
        merge: a fitted rule to merge the two lists; None: by raw distances. Rules need the gallery in one part, and all
            but `QueryZScore` need it whole on the CPU.
        backend: "numba" (compiled, on the CPU), "torch" (on the embeddings' device) or "auto": numba on the CPU, else
            torch. The CPU is used with `torch.get_num_threads()` threads.
        query_chunk: queries at a time; by default as many as take about 256 MiB over all concurrent chunks.
        shard: the matrices that each process of torch.distributed has a part of; None if this process has everything.
        correct_before: (Q,) bool, the queries the old system answers correctly at rank 1, the reference of the negative
            flips; by default those of `before`.
        before: the old system, if it is another than at the first completion ratio, as with a transform: its
            `query_old` and `gallery_old` are the reference of negative flips and losses. In parts or shards as
            `embeddings`.
        per_query: keep each query's average precision and first rank, (Q, S, T).
        show_progress: draw a progress bar.

    Returns:
        The `Curve`.

    Raises:
        InputError: a merge rule for a gallery in parts; one other than `QueryZScore` for shards or on another device
            than the CPU; parts with different queries or with shards; an old system of another size; an order that is
            not a permutation; a completion ratio outside [0, 1] or not ascending; no query with a positive; a gallery
            of 2**31 items or more (ranks are counted in 32 bits); `shard` without torch.distributed; values beyond
            1e30 for l2.

    Example:
        >>> space = torch.eye(4)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> curve = backfill_curve(Embeddings(space, space, space, space, labels, labels), order=range(4))
        >>> curve.cmc[1].tolist() == [1.0] * 11
        True
    """
    whole = [embeddings] if isinstance(embeddings, Embeddings) else list(embeddings)
    if len(whole) == 0 or (len(whole) > 1 and shard is not None):
        raise InputError(f"embeddings: {len(whole)} parts and shard {shard!r}, expected one, or parts without shard")
    if merge is not None and not merge.changes:
        merge = None
    rule = merge if isinstance(merge, QueryZScore) else None
    if merge is not None and (len(whole) > 1 or (shard is not None and rule is None)):
        raise InputError(f"merge: {type(merge).__name__} for a gallery in parts or shards, expected it whole")
    e = whole[0]
    for part in whole[1:]:
        if (part.relevance is None) != (e.relevance is None):
            raise InputError("relevance: of some parts of the gallery, expected judgements of all parts or of none")
        for name in ("query_new", "query_labels", "query_groups"):
            if e.relevance is not None and name == "query_labels":
                continue
            if not torch.equal(getattr(part, name), getattr(e, name)):
                raise InputError(f"{name}: differs between the parts of the gallery, expected the same queries")
    sizes = _gallery_sizes(whole, shard)
    points = completion_ratios(progress)
    step = backfill_steps(order, sum(sizes), points)
    samples: list[KeptSample] = []
    if rule is not None:
        samples, merge = draw(rule, order, points, e, sizes if shard == "gallery" else ()), None
    if shard == "gallery":
        step = step[:, sum(sizes[: dist.get_rank()]) :][:, : sizes[dist.get_rank()]]
    if len(top_k) == 0:
        raise InputError("top_k: none, expected at least one cut-off")
    for k in top_k:
        if k < 1:
            raise InputError(f"top_k: {k}, expected at least 1")
    if query_chunk is not None and query_chunk < 1:
        raise InputError(f"query_chunk: {query_chunk}, expected at least 1")
    if distance not in ("cosine", "l2"):
        raise InputError(f"distance: {distance!r}, expected cosine or l2")
    if distance == "l2":
        for name, part in product(("query_old", "query_new", "gallery_old", "gallery_new"), whole):
            low, high = getattr(part, name).aminmax()
            if (largest := float(max(-low, high))) > 1e30 or 0 < largest < 1e-30:
                raise InputError(f"{name}: values up to {largest:g}, expected between 1e-30 and 1e30 for l2")
    if distance == "cosine":
        warn_of_directions(*whole)
    measured = select_metrics(metrics, top_k)
    device = e.gallery_old.device
    correct = None if correct_before is None else torch.as_tensor(correct_before, dtype=torch.bool, device=device)
    if correct is not None and correct.shape != (len(e.query_old),):
        raise InputError(f"correct_before: shape {tuple(correct.shape)}, expected ({len(e.query_old)},)")
    old = None if before is None else _old_system(before, whole, distance)
    steps = torch.from_numpy(step).to(device).split([len(part.gallery_old) for part in whole], dim=1)
    sums = curve_sums(
        [
            EngineGallery(
                part.gallery_old,
                part.gallery_new,
                part.gallery_labels,
                part.gallery_groups,
                its,
                len(points),
                distance,
                merge,
                samples,
                part.relevance,
            )
            for part, its in zip(whole, steps, strict=True)
        ],
        [Queries(part.query_old, e.query_new, e.keys, e.query_groups) for part in whole],
        measured,
        correct,
        old,
        backend=backend,
        query_chunk=query_chunk,
        gallery_sharded=shard == "gallery",
        per_query=per_query,
        show_progress=show_progress,
    )
    if shard == "queries":
        sums = of_all_processes(sums)
    if sums.queries == 0:
        field = "query_labels" if e.relevance is None else "relevance"
        raise InputError(
            f"{field}: none of the {sums.skipped} queries has a relevant gallery item, expected at least one"
        )
    means = (sums.sums / sums.queries).cpu().numpy()
    return Curve(
        progress=points,
        figures=dict(zip(measured, means, strict=True)),
        queries=sums.queries,
        queries_without_positive=sums.skipped,
        average_precision=None if sums.average_precision is None else sums.average_precision.cpu().numpy(),
        first_rank=None if sums.first_rank is None else sums.first_rank.cpu().numpy(),
    )


def _old_system(
    before: Embeddings | Sequence[Embeddings], whole: Sequence[Embeddings], distance: Distance
) -> OldSystem:
    """Return the old system on its own, where no item is ever backfilled.

    Raises:
        InputError: other queries or items than in the parts of the gallery.
    """
    parts = [before] if isinstance(before, Embeddings) else list(before)
    sizes, wanted = ([(len(e.query_old), len(e.gallery_old)) for e in some] for some in (parts, whole))
    if sizes != wanted:
        raise InputError(f"before: (queries, items) {sizes}, expected {wanted} as in the embeddings")
    galleries = []
    for e in parts:
        never = torch.ones(1, len(e.gallery_old), dtype=torch.int64, device=e.gallery_old.device)
        old = (e.gallery_old, e.gallery_old, e.gallery_labels, e.gallery_groups)
        galleries.append(EngineGallery(*old, never, 1, distance, relevance=e.relevance))
    return OldSystem(galleries, [Queries(e.query_old, e.query_old, e.keys, e.query_groups) for e in parts])


def _gallery_sizes(parts: Sequence[Embeddings], shard: str | None) -> list[int]:
    """Count the items of each part of the gallery, or of each process's shard."""
    if shard not in (None, "queries", "gallery"):
        raise InputError(f"shard: {shard!r}, expected queries, gallery or None")
    if shard is not None and not dist.is_initialized():
        raise InputError(f"shard: {shard!r} without torch.distributed, expected an initialised process group")
    sizes = [len(part.gallery_old) for part in parts]
    if shard == "gallery":
        shards: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(shards, sizes[0])
        sizes = shards
    if sum(sizes) >= 2**31:
        raise InputError(f"gallery_old: {sum(sizes)} rows, expected fewer than 2**31")
    return sizes
