"""The backfill curve as a torchmetrics metric with sum states."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from compat.retrieval import Distance, backfill_figures, distances


class CurveMeans(NamedTuple):
    """Means over the queries that have a positive; S orders, T completion ratios, K cut-offs.

    Attributes:
        mean_ap: (S, T).
        cmc: (K, S, T).
        negative_flip_rate: (S, T).
        queries: queries with a positive.
        queries_without_positive: skipped ones.
        average_precision: (Q, S, T) of each query, NaN if skipped; None if not asked for.
        first_rank: (Q, S, T) of each query's first positive, 0 if skipped; None if not asked for.
    """

    mean_ap: Tensor
    cmc: Tensor
    negative_flip_rate: Tensor
    queries: int
    queries_without_positive: int
    average_precision: Tensor | None
    first_rank: Tensor | None


class BackfillCurve(Metric):
    """mAP, CMC@k and negative flips at every completion ratio, for one gallery and any queries.

    `update` takes chunks of queries; the states are sums over queries, so chunks and processes add up exactly
    as `torchmetrics` adds them.

    Args:
        gallery_old: (G, D_old).
        gallery_new: (G, D_new).
        gallery_labels: (G,).
        gallery_groups: (G,).
        step: (S, G), for each order the first completion ratio at which an item is backfilled; T for never.
        points: T.
        top_k: the cut-offs of CMC@k.
        distance: "cosine" or "l2".
        per_query: keep each query's figures too.
    """

    full_state_update = False
    ap_sum: Tensor
    hit_sum: Tensor
    flip_sum: Tensor
    queries: Tensor
    skipped: Tensor
    average_precision: list[Tensor]
    first_rank: list[Tensor]

    def __init__(
        self,
        gallery_old: Tensor,
        gallery_new: Tensor,
        gallery_labels: Tensor,
        gallery_groups: Tensor,
        step: Tensor,
        points: int,
        top_k: tuple[int, ...] = (1, 5),
        distance: Distance = "cosine",
        per_query: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gallery = (gallery_old, gallery_new)
        self.gallery_labels, self.gallery_groups = gallery_labels, gallery_groups
        self.step, self.points, self.top_k, self.distance = step, points, top_k, distance
        self.per_query = per_query
        curve = (len(step), points)
        self.add_state("ap_sum", torch.zeros(curve, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("hit_sum", torch.zeros(len(top_k), *curve, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("flip_sum", torch.zeros(curve, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("queries", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("skipped", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("average_precision", [], dist_reduce_fx="cat")
        self.add_state("first_rank", [], dist_reduce_fx="cat")

    def update(
        self,
        query_old: Tensor,
        query_new: Tensor,
        query_labels: Tensor,
        query_groups: Tensor,
        correct_before: Tensor | None = None,
    ) -> None:
        """Add a chunk of queries.

        Args:
            query_old: (Q, D_old), compared with items before their backfill.
            query_new: (Q, D_new), compared with items after it.
            query_labels: (Q,).
            query_groups: (Q,); gallery items of the query's group are ignored.
            correct_before: (Q,) bool, queries that the old system answers correctly at rank 1, the reference of
                the negative flips; default: at the first completion ratio.
        """
        old = distances(query_old, self.gallery[0], self.distance)
        new = distances(query_new, self.gallery[1], self.distance)
        relevant = query_labels[:, None] == self.gallery_labels
        ignored = query_groups[:, None] == self.gallery_groups
        precision, rank = backfill_figures(old, new, relevant, ignored, self.step, self.points)
        evaluated = rank[0, 0] > 0
        hits = [(rank > 0) & (rank <= k) for k in self.top_k]
        correct = rank == 1
        before = correct[0, 0] if correct_before is None else correct_before
        self.ap_sum += precision.nan_to_num(0.0).sum(2)
        self.hit_sum += torch.stack([hit.sum(2) for hit in hits])
        self.flip_sum += (before & ~correct & evaluated).sum(2)
        self.queries += evaluated.sum()
        self.skipped += (~evaluated).sum()
        if self.per_query:
            self.average_precision.append(precision.permute(2, 0, 1))
            self.first_rank.append(rank.permute(2, 0, 1))

    def compute(self) -> CurveMeans:
        queries = int(self.queries)
        return CurveMeans(
            self.ap_sum / queries,
            self.hit_sum.double() / queries,
            self.flip_sum.double() / queries,
            queries,
            int(self.skipped),
            dim_zero_cat(self.average_precision) if self.per_query else None,
            dim_zero_cat(self.first_rank) if self.per_query else None,
        )
