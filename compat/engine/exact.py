"""The one-pass replay in torch operations, on any device: distances -> positives -> ranks -> figures.

A precision counts the items at least as close as a positive. So for each query only the distances of its P
positives matter, once in the old and once in the new space: 2P thresholds, sorted. Every gallery item falls into a
bin between them by its old distance and into another by its new one. A histogram over (bin, completion ratio) takes
+1 in the old bin from ratio 0 up to the item's backfill and +1 in the new bin from there on; its cumulative sums are
all ranks at all completion ratios. As integers they add up exactly over chunks, gallery shards and
processes.

Ties are one group, as in scikit-learn's `average_precision_score`: nothing depends on the gallery's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from compat.merge import Merge
from compat.relevance import Relevance

Distance = Literal["cosine", "l2"]
NO_RANK = 2**31 - 1


class Queries(NamedTuple):
    """A chunk of queries: (Q, D_old), (Q, D_new), (Q,), (Q,); under judgements their row numbers are the labels."""

    old: Tensor
    new: Tensor
    labels: Tensor
    groups: Tensor


class KeptSample(NamedTuple):
    """The items sampled along one order, and at which completion ratios each of them is in the sample.

    Attributes:
        old: (U, D_old) their embeddings before the backfill.
        new: (U, D_new) after it.
        groups: (U,) int64.
        chosen: (T, U) bool.
    """

    old: Tensor
    new: Tensor
    groups: Tensor
    chosen: Tensor


@dataclass(frozen=True)
class EngineGallery:
    """The gallery, or one shard of it, and when its items are backfilled.

    Attributes:
        old: (G, D_old).
        new: (G, D_new).
        labels: (G,) int64; not read under judgements.
        groups: (G,) int64; items of a query's group are not ranked for it.
        step: (S, G) int64, for each order the first completion ratio after an item's backfill; T for never.
        points: T, the number of completion ratios.
        distance: "cosine" or "l2".
        merge: puts the distances of the two spaces on one scale; None: raw distances.
        samples: for each order the items by which a query's distances are standardised; empty: they are not.
        relevance: judgements in place of labels.
    """

    old: Tensor
    new: Tensor
    labels: Tensor | None
    groups: Tensor
    step: Tensor
    points: int
    distance: Distance = "cosine"
    merge: Merge | None = None
    samples: Sequence[KeptSample] = ()
    relevance: Relevance | None = None

    @property
    def min_grade(self) -> int:
        """The lowest grade of a relevant item; by labels all have 1."""
        return 1 if self.relevance is None else self.relevance.min_grade

    def judged(self, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compare queries (Q,) with every item: which pairs are listed, (Q, G) bool, and their grades, if judged."""
        if self.relevance is None:
            assert self.labels is not None
            return labels[:, None] == self.labels, None
        grades = self.relevance.dense(labels)
        return grades >= 0, grades

    def relevant(self, labels: Tensor) -> Tensor:
        """Compare queries (Q,) with every item: which pairs are relevant, (Q, G) bool."""
        listed, grades = self.judged(labels)
        return listed if grades is None else grades >= self.min_grade


def listed_pairs(listed: Tensor, grades: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of the listed pairs (Q, G): each query's by grade, if judged, then by item."""
    rows, columns = listed.nonzero(as_tuple=True)
    if grades is None:
        return rows, columns
    graded = grades[rows, columns].argsort(stable=True)
    order = graded[rows[graded].argsort(stable=True)]
    return rows[order], columns[order]


class Positives(NamedTuple):
    """Each query's relevant items, or all its judged ones, padded to P of them.

    Attributes:
        old: (Q, P) float32 distances before backfill; infinite for padding.
        new: (Q, P) float32 distances after it, likewise.
        step: (S, Q, P) int64, first completion ratio after each one's backfill; T for padding.
        found: (Q,) int64, number of these items.
        grades: (Q, P) int64, -1 for padding; None by labels.
    """

    old: Tensor
    new: Tensor
    step: Tensor
    found: Tensor
    grades: Tensor | None = None


class Figures(NamedTuple):
    """Per query, for each order and completion ratio.

    Attributes:
        average_precision: (S, T, Q) float64; NaN for a query without positives.
        first_rank: (S, T, Q) int64, rank of the first positive: 1 + the number of non-relevant items at its
            distance or closer; 0 for a query without positives.
        relevant: (Q,) int64, number of positives.
        ranks: (S, T, Q, P) int32, ascending, of each positive: its number among them + the number of non-relevant
            items at its distance or closer; `NO_RANK` where a query has fewer than P. None unless asked for.
        correct_before: (Q,) bool, whether the old system is right at rank 1; the engine leaves it None.
        reach: (S, T, Q, J) int32, for each relevant or judged item, by grade, then by item, the number of items at its
            distance or closer; `NO_RANK` for padding. None unless asked for.
        grades: (Q, J) int64 of these items, -1 for padding; None by labels.
        reach_before: (Q, J), of the relevant ones in the old system, `NO_RANK` for others; the engine leaves it None.
    """

    average_precision: Tensor
    first_rank: Tensor
    relevant: Tensor
    ranks: Tensor | None = None
    correct_before: Tensor | None = None
    reach: Tensor | None = None
    grades: Tensor | None = None
    reach_before: Tensor | None = None


class Wanted(NamedTuple):
    """The figures to compute beside average precision and first rank: `Figures.ranks`, and `reach`."""

    ranks: bool = False
    reach: bool = False


NOTHING_MORE = Wanted()


def norms(rows: Tensor) -> Tensor:
    """Return the Euclidean norms (N,) in float64."""
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)


def inverse_norms(rows: Tensor) -> Tensor:
    """Return 1 / norm (N,) in float64, 0 for a zero vector."""
    length = norms(rows)
    return torch.where(length > 0, 1 / length, 0.0)


def distances(query: Tensor, gallery: Tensor, distance: Distance = "cosine") -> Tensor:
    """Compute the distances between every query and every gallery item.

    Distances are computed in float64 and rounded to float32: equally distant items are then equal to the last bit,
    wherever they stand in the gallery, and are found as ties.

    Args:
        query: (Q, D).
        gallery: (G, D).
        distance: "cosine" is 1 - cos, 0 below 1e-12, where the order of a sum decides, so angles below 1.4e-6 are ties
            (a zero vector is at distance 1 from everything); "l2" is Euclidean, from differences, so near neighbours
            far from the origin keep their digits.

    Returns:
        (Q, G) float32.
    """
    query, gallery = query.double(), gallery.double()
    if distance == "l2":
        return torch.cdist(query, gallery, compute_mode="donot_use_mm_for_euclid_dist").float()
    apart = query @ gallery.T  # then in place, as memory is most of the time
    apart.mul_(inverse_norms(query)[:, None]).mul_(inverse_norms(gallery)).neg_().add_(1)
    return torch.nn.functional.threshold(apart, 1e-12, 0.0, inplace=True).float()


class ExactChunk(NamedTuple):
    """The distances of a chunk of queries (Q, G) to every item of this gallery, and which pairs are listed."""

    old: Tensor
    new: Tensor
    listed: Tensor
    ignored: Tensor
    grades: Tensor | None


class TorchEngine:
    """The replay of one gallery in torch operations, on the device of its tensors: `compat.engine.base.Countable`.

    Args:
        gallery: whole or a shard.
    """

    threaded = False

    def __init__(self, gallery: EngineGallery) -> None:
        self.gallery = gallery

    def measure(self, queries: Queries) -> ExactChunk:
        gallery = self.gallery
        old = distances(queries.old, gallery.old, gallery.distance)
        new = distances(queries.new, gallery.new, gallery.distance)
        ignored = queries.groups[:, None] == gallery.groups
        listed, grades = gallery.judged(queries.labels)
        return ExactChunk(old, new, listed & ~ignored, ignored, grades)

    def positives(self, measured: ExactChunk) -> Positives:
        old, new, listed, _, graded = measured
        rows, columns = listed_pairs(listed, graded)
        count = listed.sum(1)
        width = int(count.max()) if len(count) else 0
        slot = torch.arange(len(rows), device=old.device) - (count.cumsum(0) - count)[rows]
        places = (len(old), width)
        distance = torch.full((2, *places), torch.inf, device=old.device)
        distance[0, rows, slot], distance[1, rows, slot] = old[rows, columns], new[rows, columns]
        orders = self.gallery.step
        step = torch.full((len(orders), *places), self.gallery.points, device=old.device)
        step[:, rows, slot] = orders[:, columns]
        grades = None
        if graded is not None:
            grades = torch.full(places, -1, device=old.device)
            grades[rows, slot] = graded[rows, columns]
        return Positives(distance[0], distance[1], step, count, grades)

    def ranks(self, measured: ExactChunk, thresholds: Tensor) -> Tensor:
        width, points = thresholds.shape[1], self.gallery.points
        ignored = measured.ignored
        old, new = (torch.searchsorted(thresholds, d).masked_fill_(ignored, width) for d in measured[:2])
        every = [_histogram(old, new, step.expand_as(ignored), width, points) for step in self.gallery.step]
        return torch.stack(every).cumsum(3)

    def figures(self, queries: Queries, wanted: Wanted = NOTHING_MORE) -> Figures:
        measured = self.measure(queries)
        positives = self.positives(measured)
        thresholds = thresholds_of(positives)
        return figures(self.ranks(measured, thresholds), positives, thresholds, wanted, self.gallery.min_grade)

    def bytes_per_query(self, items: int, width: int) -> int:
        return 64 * items


def thresholds_of(positives: Positives) -> Tensor:
    """Sort the distances of the positives in both spaces, (Q, 2P) float32."""
    return torch.cat([positives.old, positives.new], 1).sort(1).values


def figures(
    ranks: Tensor, positives: Positives, thresholds: Tensor, wanted: Wanted = NOTHING_MORE, min_grade: int = 1
) -> Figures:
    """Compute average precision and first rank from the ranks at the thresholds.

    Args:
        ranks: (S, T, Q, W) int64, as `Countable.ranks` gives them, summed over gallery shards.
        positives: of the whole gallery.
        thresholds: (Q, W).
        wanted: further figures.
        min_grade: the lowest grade of a relevant item.

    Returns:
        `Figures` with (S, T, Q) each.
    """
    orders, points, queries, width = ranks.shape
    present = torch.isfinite(positives.old)
    relevant = present if positives.grades is None else positives.grades >= min_grade
    count = relevant.sum(1)
    if width == 0:
        nothing = torch.zeros(orders, points, queries, device=ranks.device)
        none = nothing.int()[..., None][..., :0]
        return Figures(nothing.double() / 0, nothing.long(), count, none, reach=none, grades=positives.grades)
    old, new = (torch.searchsorted(thresholds, d).masked_fill_(~present, width) for d in positives[:2])
    old_own, new_own = (bins.masked_fill(~relevant, width) for bins in (old, new))
    average, first, each, reach = [], [], [], []
    for rank, step in zip(ranks, positives.step, strict=True):
        among = _histogram(old_own, new_own, step, width, points).cumsum(2)
        moment = torch.arange(points, device=ranks.device)[:, None, None]
        own = torch.where(step > moment, old_own, new_own)
        at = own.clamp_max(width - 1)
        ratio = (among.gather(2, at).double() / rank.gather(2, at)).where(relevant, 0)
        average.append(ratio.sum(2) / count)
        nearest = own.amin(2, keepdim=True).clamp_max(width - 1)
        ahead = rank.gather(2, nearest) - among.gather(2, nearest)
        first.append((ahead.squeeze(2) + 1).where(count > 0, 0))
        if wanted.ranks:
            sorted_at = own.sort(2).values.clamp_max(width - 1)
            number = torch.arange(1, own.shape[2] + 1, device=ranks.device)
            place = rank.gather(2, sorted_at) - among.gather(2, sorted_at) + number
            each.append(place.where(number <= count[:, None], NO_RANK).int())
        if wanted.reach:
            at = torch.where(step > moment, old, new).clamp_max(width - 1)
            reach.append(rank.gather(2, at).where(present, NO_RANK).int())
    more = (torch.stack(values) if values else None for values in (each, reach))
    return Figures(torch.stack(average), torch.stack(first), count, next(more), None, next(more), positives.grades)


def _histogram(bin_old: Tensor, bin_new: Tensor, step: Tensor, width: int, points: int) -> Tensor:
    """Count the items in each bin at each completion ratio, (T, Q, width) int64; bin `width` is not counted."""
    queries, bins = len(bin_old), width + 1
    histogram = torch.zeros(queries, (points + 1) * bins, dtype=torch.int64, device=bin_old.device)
    one = torch.ones((), dtype=torch.int64, device=bin_old.device).expand(bin_old.shape)
    histogram.scatter_add_(1, bin_old, one)
    histogram.scatter_add_(1, step * bins + bin_old, -one)
    histogram.scatter_add_(1, step * bins + bin_new, one)
    return histogram.view(queries, points + 1, bins)[:, :points, :width].cumsum(1).transpose(0, 1)
