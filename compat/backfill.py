"""Four matrices and an order of the gallery -> what retrieval does during the backfilling."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from compat.curve import area
from compat.engine.exact import Distance, Gallery
from compat.engine.replay import Backend
from compat.errors import InputError
from compat.merge import Merge
from compat.metrics import BackfillCurve

Array: TypeAlias = Tensor | np.ndarray | Sequence[Any]


class Embeddings:
    """All that a method is to the evaluation: four matrices, with labels and groups.

    `query_old` is the query as compared with items before their backfill (`gallery_old`), `query_new` as
    compared with items after it (`gallery_new`). A gallery item with the query's group is ignored for that
    query; without groups nothing is. Give each item's index as both groups where the queries are the gallery.

    Args:
        query_old: (Q, D_old) float.
        query_new: (Q, D_new) float.
        gallery_old: (G, D_old) float.
        gallery_new: (G, D_new) float.
        query_labels: (Q,) integers of 0 and more; items of the same label are relevant to each other, so give what
            is relevant to nothing, such as distractors, a label of its own.
        gallery_labels: (G,) likewise.
        query_groups: (Q,) integers; default: no group.
        gallery_groups: (G,) integers; default: no group.

    Attributes: the same names, as tensors; arrays are not copied, so they may be memory-mapped.

    Raises:
        InputError: another shape, row counts, dimensions or devices that differ, negative labels, values that are
            NaN, infinite or beyond 1e150, one of the groups without the other.
    """

    def __init__(
        self,
        query_old: Array,
        query_new: Array,
        gallery_old: Array,
        gallery_new: Array,
        query_labels: Array,
        gallery_labels: Array,
        query_groups: Array | None = None,
        gallery_groups: Array | None = None,
    ) -> None:
        self.query_old, self.gallery_old = _matrices("old", query_old, gallery_old)
        self.query_new, self.gallery_new = _matrices("new", query_new, gallery_new)
        device = self.gallery_old.device
        for name in ("query_old", "query_new", "gallery_new"):
            if (found := getattr(self, name).device) != device:
                raise InputError(f"{name}: on {found}, expected {device} as gallery_old")
        _same_rows("query_new", self.query_new, "query_old", self.query_old)
        _same_rows("gallery_new", self.gallery_new, "gallery_old", self.gallery_old)
        self.query_labels = _integers("query_labels", query_labels, "query_old", self.query_old)
        self.gallery_labels = _integers("gallery_labels", gallery_labels, "gallery_old", self.gallery_old)
        if query_groups is None and gallery_groups is None:
            self.query_groups = torch.full_like(self.query_labels, 0)
            self.gallery_groups = torch.full_like(self.gallery_labels, 1)
        elif query_groups is None or gallery_groups is None:
            missing = "query_groups" if query_groups is None else "gallery_groups"
            raise InputError(f"{missing}: none, expected the groups of both queries and gallery or of neither")
        else:
            self.query_groups = _integers("query_groups", query_groups, "query_old", self.query_old)
            self.gallery_groups = _integers("gallery_groups", gallery_groups, "gallery_old", self.gallery_old)


def _matrices(time: str, query: Array, gallery: Array) -> tuple[Tensor, Tensor]:
    """The queries and the gallery of one space, as finite matrices of the same dimension."""
    name, other = f"query_{time}", f"gallery_{time}"
    queries, items = _floating(name, query), _floating(other, gallery)
    for field, value in ((name, queries), (other, items)):
        if len(value) == 0:
            raise InputError(f"{field}: shape {tuple(value.shape)}, expected at least one row")
        if value.shape[1] == 0:
            raise InputError(f"{field}: shape {tuple(value.shape)}, expected at least one column")
        for start in range(0, len(value), 2**16):
            finite = (value[start : start + 2**16].abs() <= 1e150).all(1)
            if not finite.all():
                row = start + int((~finite).nonzero()[0])
                raise InputError(f"{field}: NaN or infinite values (first in row {row}), expected finite embeddings")
    if queries.shape[1] != items.shape[1]:
        found, wanted = tuple(queries.shape), tuple(items.shape)
        raise InputError(f"{name}: shape {found}, expected {wanted[1]} columns as in {other} {wanted}")
    return queries, items


def _floating(name: str, value: Array) -> Tensor:
    """float32 and float64 as they are, without a copy; half precision as float32, integers as float64."""
    matrix = _tensor(name, value, 2)
    if matrix.is_complex():
        raise InputError(f"{name}: {matrix.dtype}, expected real numbers")
    if matrix.dtype not in (torch.float32, torch.float64):
        matrix = matrix.float() if matrix.is_floating_point() else matrix.double()
    return matrix.contiguous()


def _integers(name: str, value: Array, other: str, rows: Tensor) -> Tensor:
    vector = _tensor(name, value, 1)
    if vector.is_floating_point() or vector.is_complex():
        raise InputError(f"{name}: {vector.dtype}, expected integers")
    _same_rows(name, vector, other, rows)
    if name.endswith("labels") and (negative := (vector < 0).nonzero()).numel():
        row = int(negative[0])
        raise InputError(f"{name}: {int(vector[row])} in row {row}, expected labels of 0 and more")
    return vector.long().to(rows.device).contiguous()


def _same_rows(name: str, value: Tensor, other: str, rows: Tensor) -> None:
    if len(value) != len(rows):
        shapes = f"shape {tuple(value.shape)}, expected {len(rows)} rows as in {other} {tuple(rows.shape)}"
        raise InputError(f"{name}: {shapes}")


def _tensor(name: str, value: Array, dimensions: int) -> Tensor:
    try:
        if isinstance(value, np.ndarray) and (not value.dtype.isnative or min(value.strides, default=0) < 0):
            value = value.astype(value.dtype.newbyteorder("="), order="C")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # memory-mapped; only read here
            tensor = torch.as_tensor(value).detach()
        tensor = tensor.cpu() if tensor.device.type == "mps" else tensor  # which has no float64
    except (TypeError, ValueError, RuntimeError) as error:
        strings = np.asarray(value).dtype.kind in "US" if isinstance(value, (np.ndarray, list, tuple)) else False
        expected = "numbers" if dimensions == 2 else "integers"
        found = f"strings, expected {expected}" if strings else f"{type(value).__name__}, expected an array or tensor"
        raise InputError(f"{name}: {found}") from error
    if tensor.ndim != dimensions:
        shape = "(rows, dimension)" if dimensions == 2 else "(rows,)"
        raise InputError(f"{name}: shape {tuple(tensor.shape)}, expected {shape}")
    return tensor


def warn_of_zero_vectors(*parts: Embeddings) -> None:
    """Warn of how many rows of each matrix are zero: at cosine distance 1 from everything."""
    for name in ("query_old", "query_new", "gallery_old", "gallery_new"):
        rows = [some for part in parts for some in getattr(part, name).split(2**16)]
        if zeros := sum(int((~some.any(1)).sum()) for some in rows):
            warnings.warn(f"{name}: {zeros} zero vectors, at cosine distance 1 from everything", stacklevel=3)


@dataclass(frozen=True)
class Curve:
    """What `backfill_curve` returns; figures are fractions, means over the queries that have a positive.

    With several orders every curve is the mean over them, and `..._orders` keeps each.

    Attributes:
        progress: (T,) completion ratios.
        mean_ap: (T,) mAP.
        cmc: k -> (T,) CMC@k.
        negative_flip_rate: (T,) share of queries that were correct at rank 1 before and are not any more.
        mean_ap_orders: (S, T) mAP for each order.
        cmc_orders: k -> (S, T) likewise.
        negative_flip_rate_orders: (S, T) likewise.
        queries: number of queries evaluated.
        queries_without_positive: number of queries skipped.
        average_precision: (Q, S, T) for each query (NaN if skipped), or None if not asked for.
        first_rank: (Q, S, T) for each query, the rank of its first positive (0 if skipped), likewise.
    """

    progress: np.ndarray
    mean_ap: np.ndarray
    cmc: Mapping[int, np.ndarray]
    negative_flip_rate: np.ndarray
    mean_ap_orders: np.ndarray
    cmc_orders: Mapping[int, np.ndarray]
    negative_flip_rate_orders: np.ndarray
    queries: int
    queries_without_positive: int
    average_precision: np.ndarray | None = None
    first_rank: np.ndarray | None = None

    @property
    def auc(self) -> float:
        """Area under the mAP curve by the trapezoidal rule, divided by the range of progress."""
        return area(self.progress, self.mean_ap)


def backfill_order(items: int, seed: int | Sequence[int]) -> np.ndarray:
    """A random order in which a gallery of that many items is backfilled: a permutation (G,) int64."""
    return np.random.default_rng(seed).permutation(items)


def backfill_curve(
    embeddings: Embeddings | Sequence[Embeddings],
    order: Any,
    progress: Any = 11,
    *,
    top_k: tuple[int, ...] = (1, 5),
    distance: Distance = "cosine",
    merge: Merge | None = None,
    backend: Backend = "auto",
    query_chunk: int | None = None,
    shard: Literal["queries", "gallery"] | None = None,
    correct_before: Any = None,
    per_query: bool = False,
    show_progress: bool = False,
) -> Curve:
    """Replay a backfilling by distance rank merge and measure retrieval at each completion ratio.

    At ratio p the first floor(p * G) items of the order are backfilled (in floating point, so 0.29 * 100 gives
    28): an item's distance is the new-space one if it is among them, else the old-space one, and all items are
    ranked by it (arXiv 2301.03767). All completion ratios and orders come from one pass over the distances; no
    array of Q x G elements is made.

    mAP is non-interpolated, with all relevant non-ignored items in the denominator; equally distant items are
    one group, as in scikit-learn's `average_precision_score`. CMC@k is the share of queries whose first
    relevant item has a rank <= k, where that rank counts every non-relevant item at its distance before it.
    So nothing depends on the order of the gallery's rows. Queries without a relevant item are skipped and
    counted. A query to which every item is relevant has an average precision of 1; a zero vector is at cosine
    distance 1 from everything.

    Distances are computed in float64 and then rounded to float32, so equal embeddings are equally far, on every
    backend and however chunks and processes divide the work: the counts are then the same to the last one.

    Several processes (`torchrun`, any `torch.distributed` group): each passes its own part and all of them return
    the curve of the whole. With shard="queries" each has the whole gallery and queries of its own; with "gallery"
    all the queries and rows of its own, where `order` numbers the rows of all processes one after the other by rank.
    Positives' distances are gathered then, and integer histograms added.

    A gallery may come in parts whose items are in different spaces before their backfill, as when an upgrade starts
    before the one before it has ended. Each part has the same queries in the same order, with a `query_old` of its
    own; `order` numbers the items of all parts one after the other.

    Args:
        embeddings: the four matrices, labels and groups; or one of these for each part of the gallery.
        order: a permutation of the gallery, (G,), or several, (S, G).
        progress: the completion ratios, (T,), ascending, in [0, 1]; or how many, from 0 to 1.
        top_k: the cut-offs of CMC@k.
        distance: "cosine", or "l2" between the embeddings as they are.
        merge: the rule by which the two lists are merged, fitted; None: by the distances as they are. Other rules need
            the whole gallery, in one part, on the CPU.
        backend: "numba" (compiled, on the CPU), "torch" (on whatever device the embeddings are) or "auto": numba
            on the CPU, else torch. The CPU is used with `torch.get_num_threads()` threads.
        query_chunk: queries at a time; by default so many that all chunks under way take about 256 MiB.
        shard: what each process of torch.distributed has a part of; None if this process has everything.
        correct_before: (Q,) bool, the queries that the old system answers correctly at rank 1, as reference of
            the negative flips; by default those correct at the first completion ratio.
        per_query: keep each query's average precision and first rank, (Q, S, T).
        show_progress: draw a progress bar.

    Returns:
        The `Curve`.

    Raises:
        InputError: a merge rule for a gallery in parts, in shards or elsewhere than on the CPU, parts whose queries
            differ or that are to be sharded, an order that is not a permutation, a completion ratio outside [0, 1] or
            not ascending, no query with a positive, a gallery of 2**31 items or more (ranks are counted in 32 bits),
            `shard` without torch.distributed, values beyond 1e30 for l2.

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
    if merge is not None and (len(whole) > 1 or shard is not None):
        raise InputError(f"merge: {type(merge).__name__} for a gallery in parts or shards, expected it whole")
    e = whole[0]
    for part in whole[1:]:
        for name in ("query_new", "query_labels", "query_groups"):
            if not torch.equal(getattr(part, name), getattr(e, name)):
                raise InputError(f"{name}: differs between the parts of the gallery, expected the same queries")
    sizes = _gallery_sizes(whole, shard)
    points = completion_ratios(progress)
    step = backfill_steps(order, sum(sizes), points)
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
        warn_of_zero_vectors(*whole)
    device = e.gallery_old.device
    before = None if correct_before is None else torch.as_tensor(correct_before, dtype=torch.bool, device=device)
    if before is not None and before.shape != (len(e.query_old),):
        raise InputError(f"correct_before: shape {tuple(before.shape)}, expected ({len(e.query_old)},)")
    steps = torch.from_numpy(step).to(device).split([len(part.gallery_old) for part in whole], dim=1)
    metric = BackfillCurve(
        [
            Gallery(p.gallery_old, p.gallery_new, p.gallery_labels, p.gallery_groups, its, len(points), distance, merge)
            for p, its in zip(whole, steps, strict=True)
        ],
        top_k,
        backend,
        query_chunk,
        gallery_sharded=shard == "gallery",
        per_query=per_query,
        show_progress=show_progress,
        sync_on_compute=shard == "queries",
    ).to(device)
    metric.update([part.query_old for part in whole], e.query_new, e.query_labels, e.query_groups, before)
    means = metric.compute()
    if means.queries == 0:
        raise InputError(
            f"query_labels: none of the {means.queries_without_positive} queries has a relevant gallery item, expected "
            "at least one"
        )
    curves = len(step), len(points)  # torchmetrics squeezes what has one element
    mean_ap, flips = (v.reshape(curves).cpu().numpy() for v in (means.mean_ap, means.negative_flip_rate))
    cmc = dict(zip(top_k, means.cmc.reshape(len(top_k), *curves).cpu().numpy(), strict=True))
    each: tuple[np.ndarray | None, ...] = (None, None)
    if means.average_precision is not None and means.first_rank is not None:
        each = tuple(v.reshape(-1, *curves).cpu().numpy() for v in (means.average_precision, means.first_rank))
    return Curve(
        progress=points,
        mean_ap=mean_ap.mean(0),
        cmc={k: values.mean(0) for k, values in cmc.items()},
        negative_flip_rate=flips.mean(0),
        mean_ap_orders=mean_ap,
        cmc_orders=cmc,
        negative_flip_rate_orders=flips,
        queries=means.queries,
        queries_without_positive=means.queries_without_positive,
        average_precision=each[0],
        first_rank=each[1],
    )


def _gallery_sizes(parts: Sequence[Embeddings], shard: str | None) -> list[int]:
    """Items of each part of the gallery, or of each process's shard of it."""
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


def completion_ratios(progress: Any) -> np.ndarray:
    """The completion ratios (T,): those given, or so many from 0 to 1.

    Raises:
        InputError: a ratio outside [0, 1], ratios that do not ascend, none at all.
    """
    if isinstance(progress, int):
        if progress < 2:
            raise InputError(f"progress: {progress} points, expected at least 2, or a list of completion ratios")
        return np.linspace(0, 1, progress)
    points = np.atleast_1d(np.asarray(progress, dtype=float))
    if points.ndim != 1 or len(points) == 0:
        raise InputError(f"progress: shape {points.shape}, expected a list of completion ratios")
    for point in points:
        if not 0 <= point <= 1:
            raise InputError(f"progress: {point:g}, expected completion ratios in [0, 1]")
    if (np.diff(points) <= 0).any():
        raise InputError(f"progress: {points.tolist()}, expected ascending completion ratios")
    return points


def backfill_steps(order: Any, items: int, points: np.ndarray) -> np.ndarray:
    """The first completion ratio at which each item is backfilled, T for never: (S, G) int64.

    Args:
        order: a permutation of the gallery, (G,), or several, (S, G).
        items: G.
        points: (T,) completion ratios.

    Raises:
        InputError: not permutations of 0 to G - 1; the message names the first item that is there twice.
    """
    try:
        orders = np.atleast_2d(np.asarray(order.cpu() if isinstance(order, Tensor) else order))
    except ValueError as error:
        raise InputError(f"order: {error}, expected ({items},) or (orders, {items})") from error
    if orders.ndim != 2 or orders.shape[1] != items or len(orders) == 0:
        raise InputError(f"order: shape {np.shape(order)}, expected ({items},) or (orders, {items})")
    if not np.issubdtype(orders.dtype, np.integer):
        raise InputError(f"order: {orders.dtype}, expected integers")
    backfilled = np.floor(points * items).astype(np.int64)
    first = np.searchsorted(backfilled, np.arange(items), side="right")
    steps = np.empty(orders.shape, dtype=np.int64)
    for row, one in zip(steps, orders, strict=True):
        if one.min() < 0 or one.max() >= items:
            wrong = one[(one < 0) | (one >= items)][0]
            raise InputError(f"order: {wrong}, expected a permutation of 0 to {items - 1}")
        values, where = np.unique(one, return_index=True)
        if len(values) < items:
            again = one[np.setdiff1d(np.arange(items), where)[0]]
            raise InputError(f"order: {again} twice, expected a permutation of 0 to {items - 1}")
        row[one] = first
    return steps
