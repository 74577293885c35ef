"""Four matrices and an order of the gallery -> what retrieval does during the backfilling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from compat.curve import area
from compat.errors import InputError
from compat.metrics import BackfillCurve
from compat.retrieval import Distance

Array: TypeAlias = Tensor | np.ndarray


@dataclass
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
        query_labels: (Q,) integers.
        gallery_labels: (G,) integers.
        query_groups: (Q,) integers >= 0; default: no group.
        gallery_groups: (G,) integers >= 0; default: no group.

    Raises:
        InputError: another shape, row counts or dimensions that differ, NaN or infinite values, one of the
            groups without the other.
    """

    query_old: Array
    query_new: Array
    gallery_old: Array
    gallery_new: Array
    query_labels: Array
    gallery_labels: Array
    query_groups: Array | None = None
    gallery_groups: Array | None = None

    def __post_init__(self) -> None:
        if (self.query_groups is None) != (self.gallery_groups is None):
            missing = "query_groups" if self.query_groups is None else "gallery_groups"
            raise InputError(f"{missing}: none, expected the groups of both queries and gallery or of neither")
        if self.query_groups is None:
            self.query_groups = torch.full((len(self.query_labels),), -1)
            self.gallery_groups = torch.full((len(self.gallery_labels),), -2)
        for side in ("query", "gallery"):
            matrices = {f"{side}_{time}": _tensor(self, f"{side}_{time}", 2) for time in ("old", "new")}
            vectors = {f"{side}_{what}": _tensor(self, f"{side}_{what}", 1) for what in ("labels", "groups")}
            rows = len(matrices[f"{side}_old"])
            if rows == 0:
                raise InputError(f"{side}_old: shape {tuple(matrices[f'{side}_old'].shape)}, expected at least one row")
            for name, value in {**matrices, **vectors}.items():
                if len(value) != rows:
                    raise InputError(
                        f"{name}: shape {tuple(value.shape)}, expected {rows} rows as in {side}_old "
                        f"{tuple(matrices[f'{side}_old'].shape)}"
                    )
                setattr(self, name, value)
        for time in ("old", "new"):
            query, gallery = getattr(self, f"query_{time}"), getattr(self, f"gallery_{time}")
            if query.shape[1] != gallery.shape[1]:
                raise InputError(
                    f"query_{time}: shape {tuple(query.shape)}, expected {gallery.shape[1]} columns as in "
                    f"gallery_{time} {tuple(gallery.shape)}"
                )


def _tensor(embeddings: Embeddings, name: str, dimensions: int) -> Tensor:
    """A field as a tensor of the right number of dimensions and finite values."""
    try:
        value = torch.as_tensor(getattr(embeddings, name))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name}: {type(getattr(embeddings, name)).__name__}, expected an array or tensor") from error
    if value.ndim != dimensions:
        shape = "(rows, dimension)" if dimensions == 2 else "(rows,)"
        raise InputError(f"{name}: shape {tuple(value.shape)}, expected {shape}")
    if dimensions == 1:
        if value.is_floating_point() or value.is_complex():
            raise InputError(f"{name}: {value.dtype}, expected integers")
        return value.long()
    if not torch.isfinite(value).all():
        row = int((~torch.isfinite(value).all(1)).nonzero()[0])
        raise InputError(f"{name}: NaN or infinite values (first in row {row}), expected finite embeddings")
    return value if value.is_floating_point() else value.float()


@dataclass(frozen=True)
class Curve:
    """What `backfill_curve` returns; figures are fractions, means over the queries that have a positive.

    With several orders every curve is the mean over them, and `mean_ap_orders` keeps each.

    Attributes:
        progress: (T,) completion ratios.
        mean_ap: (T,) mAP.
        cmc: k -> (T,) CMC@k.
        negative_flip_rate: (T,) share of queries that were correct at rank 1 before and are not any more.
        mean_ap_orders: (S, T) mAP for each order.
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
    embeddings: Embeddings,
    order: Any,
    progress: Any = 11,
    *,
    top_k: tuple[int, ...] = (1, 5),
    distance: Distance = "cosine",
    query_chunk: int | None = None,
    correct_before: Any = None,
    per_query: bool = False,
    show_progress: bool = False,
) -> Curve:
    """Replay a backfilling by distance rank merge and measure retrieval at each completion ratio.

    At ratio p the first floor(p * G) items of the order are backfilled: an item's distance is the new-space
    one if it is among them, else the old-space one, and all items are ranked by it (methods.md, B.0).

    mAP is non-interpolated, with all relevant non-ignored items in the denominator; equally distant items are
    one group, as in scikit-learn's `average_precision_score`. CMC@k is the share of queries whose first
    relevant item has a rank <= k, where that rank counts every non-relevant item at its distance before it.
    So nothing depends on the order of the gallery's rows. Queries without a relevant item are skipped and
    counted.

    Args:
        embeddings: the four matrices, labels and groups.
        order: a permutation of the gallery, (G,), or several, (S, G).
        progress: the completion ratios, (T,), ascending, in [0, 1]; or how many, from 0 to 1.
        top_k: the cut-offs of CMC@k.
        distance: "cosine", or "l2" between the embeddings as they are.
        query_chunk: queries at a time; by default so many that a chunk takes about 256 MiB.
        correct_before: (Q,) bool, the queries that the old system answers correctly at rank 1, as reference of
            the negative flips; by default those correct at the first completion ratio.
        per_query: keep each query's average precision and first rank, (Q, S, T).
        show_progress: draw a progress bar.

    Returns:
        The `Curve`.

    Raises:
        InputError: an order that is not a permutation, a completion ratio outside [0, 1] or not ascending, no
            query with a positive.

    Example:
        >>> space = torch.eye(4)
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> curve = backfill_curve(Embeddings(space, space, space, space, labels, labels), order=range(4))
        >>> curve.cmc[1].tolist() == [1.0] * 11
        True
    """
    items = len(embeddings.gallery_old)
    points = completion_ratios(progress)
    step = torch.from_numpy(_steps(order, items, points))
    for k in top_k:
        if k < 1:
            raise InputError(f"top_k: {k}, expected at least 1")
    gallery = (embeddings.gallery_old, embeddings.gallery_new, embeddings.gallery_labels, embeddings.gallery_groups)
    queries = (embeddings.query_old, embeddings.query_new, embeddings.query_labels, embeddings.query_groups)
    before = None if correct_before is None else torch.as_tensor(correct_before, dtype=torch.bool)
    if before is not None and before.shape != (len(embeddings.query_old),):
        raise InputError(f"correct_before: shape {tuple(before.shape)}, expected ({len(embeddings.query_old)},)")
    metric = BackfillCurve(*gallery, step, len(points), top_k, distance, per_query)  # type: ignore[arg-type]
    chunk = query_chunk or max(2**28 // (64 * items), 1)
    starts = range(0, len(embeddings.query_old), chunk)
    for start in tqdm(starts, "Replaying", disable=not show_progress, leave=False):
        rows = slice(start, start + chunk)
        metric.update(*(q[rows] for q in queries), None if before is None else before[rows])  # type: ignore[index]
    if metric.queries == 0:
        raise InputError(
            f"query_labels: none of the {len(embeddings.query_old)} queries has a relevant gallery item, expected at "
            "least one"
        )
    means = metric.compute()
    curves = step.shape[0], len(points)  # torchmetrics squeezes what has one element
    mean_ap = means.mean_ap.reshape(curves).numpy()
    cmc = means.cmc.reshape(len(top_k), *curves).numpy().mean(1)
    each: tuple[np.ndarray | None, ...] = (None, None)
    if means.average_precision is not None and means.first_rank is not None:
        each = tuple(v.reshape(-1, *curves).numpy() for v in (means.average_precision, means.first_rank))
    return Curve(
        progress=points,
        mean_ap=mean_ap.mean(0),
        cmc=dict(zip(top_k, cmc, strict=True)),
        negative_flip_rate=means.negative_flip_rate.reshape(curves).numpy().mean(0),
        mean_ap_orders=mean_ap,
        queries=means.queries,
        queries_without_positive=means.queries_without_positive,
        average_precision=each[0],
        first_rank=each[1],
    )


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


def _steps(order: Any, items: int, points: np.ndarray) -> np.ndarray:
    """(S, G): the first completion ratio at which each item is backfilled, T for never."""
    orders = np.atleast_2d(np.asarray(order))
    if orders.ndim != 2 or orders.shape[1] != items:
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
        values, counts = np.unique(one, return_counts=True)
        if len(values) < items:
            raise InputError(f"order: {values[counts > 1][0]} twice, expected a permutation of 0 to {items - 1}")
        row[one] = first
    return steps
