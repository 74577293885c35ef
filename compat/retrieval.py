"""Distances, and the retrieval figures of a backfilling: pure functions of tensors."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Distance = Literal["cosine", "l2"]


class Figures(NamedTuple):
    """Per query, for each order and completion ratio.

    Attributes:
        average_precision: (S, T, Q) float64; NaN for a query without positives.
        first_rank: (S, T, Q) int64, rank of the first positive: 1 + the number of non-relevant items at its
            distance or closer; 0 for a query without positives.
    """

    average_precision: Tensor
    first_rank: Tensor


def distances(query: Tensor, gallery: Tensor, distance: Distance = "cosine") -> Tensor:
    """Distances between every query and every gallery item.

    Computed in float64 and rounded to float32, so that items which are equally far are so to the last bit
    wherever they stand in the gallery, and are found as ties.

    Args:
        query: (Q, D).
        gallery: (G, D).
        distance: "cosine" is 1 - cos (a zero vector is at distance 1 from everything); "l2" is Euclidean.

    Returns:
        (Q, G) float32.
    """
    query, gallery = query.double(), gallery.double()
    if distance == "cosine":
        return (1 - F.normalize(query, dim=1) @ F.normalize(gallery, dim=1).T).float()
    squared = query.square().sum(1)[:, None] + gallery.square().sum(1) - 2 * query @ gallery.T
    return squared.clamp_min(0).sqrt().float()


def backfill_figures(old: Tensor, new: Tensor, relevant: Tensor, ignored: Tensor, step: Tensor, points: int) -> Figures:
    """Exact figures of every query at every completion ratio, from one pass over the distances.

    A precision counts the items at least as close as a positive, so only the distances of the positives
    matter as thresholds: for each query, every item is put into a bin between the thresholds, once by its old
    and once by its new distance. A histogram over (bin, completion ratio) then takes +1 in the old bin from
    ratio 0 up to the item's backfill and +1 in the new bin from there on, and its cumulative sums are the ranks.

    Ties are one group, as in scikit-learn's `average_precision_score`: nothing depends on the gallery's order.

    Args:
        old: (Q, G) distances before an item's backfill.
        new: (Q, G) distances after it.
        relevant: (Q, G) bool, same label.
        ignored: (Q, G) bool, not to be ranked for this query.
        step: (S, G) int64, for each order the first completion ratio at which an item is backfilled; `points`
            for never.
        points: T, the number of completion ratios.

    Returns:
        `Figures` with (S, T, Q) each.
    """
    queries, items = old.shape
    relevant = relevant & ~ignored
    rows, columns = relevant.nonzero(as_tuple=True)
    count = relevant.sum(1)
    width = max(int(count.max()) if queries else 0, 1)
    slot = torch.arange(len(rows), device=old.device) - (count.cumsum(0) - count)[rows]
    thresholds = torch.full((queries, 2 * width), torch.inf, device=old.device)
    thresholds[rows, slot] = old[rows, columns]
    thresholds[rows, width + slot] = new[rows, columns]
    thresholds = thresholds.sort(dim=1).values

    bins = 2 * width + 1  # the last bin takes the ignored items and those beyond every positive
    bin_old = torch.searchsorted(thresholds, old).masked_fill_(ignored, bins - 1)
    bin_new = torch.searchsorted(thresholds, new).masked_fill_(ignored, bins - 1)
    precision, first = [], []
    for steps in step:
        rank = _rank(bin_old, bin_new, steps.expand(queries, items), bins, points)
        of_positive = torch.full((queries, width), points, device=old.device)
        positive_old = torch.full((queries, width), bins - 1, device=old.device)
        positive_new = positive_old.clone()
        of_positive[rows, slot] = steps[columns]
        positive_old[rows, slot] = bin_old[rows, columns]
        positive_new[rows, slot] = bin_new[rows, columns]
        positives = _rank(positive_old, positive_new, of_positive, bins, points)

        moment = torch.arange(points, device=old.device)[None, :, None]
        own_bin = torch.where(of_positive[:, None] > moment, positive_old[:, None], positive_new[:, None])
        present = torch.arange(width, device=old.device) < count[:, None]
        ratio = positives.gather(2, own_bin).double() / rank.gather(2, own_bin)
        precision.append((ratio.where(present[:, None], 0).sum(2) / count[:, None]).T)
        nearest = own_bin.amin(2, keepdim=True)
        ahead = rank.gather(2, nearest) - positives.gather(2, nearest)
        first.append((ahead.squeeze(2) + 1).where(count[:, None] > 0, 0).T)
    return Figures(torch.stack(precision), torch.stack(first))


def _rank(bin_old: Tensor, bin_new: Tensor, step: Tensor, bins: int, points: int) -> Tensor:
    """Number of items in each bin or a closer one at each completion ratio: (Q, T, bins) int64."""
    queries = len(bin_old)
    histogram = torch.zeros(queries, (points + 1) * bins, dtype=torch.int64, device=bin_old.device)
    one = torch.ones((), dtype=torch.int64, device=bin_old.device).expand(bin_old.shape)
    histogram.scatter_add_(1, bin_old, one)
    histogram.scatter_add_(1, step * bins + bin_old, -one)
    histogram.scatter_add_(1, step * bins + bin_new, one)
    return histogram.view(queries, points + 1, bins)[:, :points].cumsum(1).cumsum(2)
