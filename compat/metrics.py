"""The backfill curve as a torchmetrics metric with sum states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from tqdm.auto import tqdm

from compat.engine.exact import Figures, Gallery, Queries
from compat.engine.replay import Backend, choose_engine, replay
from compat.errors import InputError


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

    `update` takes any queries; the states are sums over them, so updates and processes add up exactly as
    `torchmetrics` adds them.

    Args:
        gallery: with its labels, groups and the completion ratio at which each item is backfilled; or several
            parts of one, whose items before their backfill are in different spaces.
        top_k: the cut-offs of CMC@k.
        backend: "numba" (on the CPU), "torch" (on any device) or "auto".
        query_chunk: queries at a time; by default as many as take about 256 MiB.
        gallery_sharded: whether `gallery` is this process's shard; every process then updates with all queries.
        per_query: keep each query's figures too.
        show_progress: draw a progress bar.
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
        gallery: Gallery | Sequence[Gallery],
        top_k: tuple[int, ...] = (1, 5),
        backend: Backend = "auto",
        query_chunk: int | None = None,
        gallery_sharded: bool = False,
        per_query: bool = False,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.galleries = [gallery] if isinstance(gallery, Gallery) else list(gallery)
        if len(self.galleries) > 1 and any(part.merge is not None for part in self.galleries):
            raise InputError(f"merge: for a gallery in {len(self.galleries)} parts, expected it whole")
        self.top_k, self.backend = top_k, backend
        self.query_chunk, self.gallery_sharded = query_chunk, gallery_sharded
        self.per_query, self.show_progress = per_query, show_progress
        curve = (len(self.galleries[0].step), self.galleries[0].points)
        self.add_state("ap_sum", torch.zeros(curve, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("hit_sum", torch.zeros(len(top_k), *curve, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("flip_sum", torch.zeros(curve, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("queries", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("skipped", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("average_precision", [], dist_reduce_fx="cat")
        self.add_state("first_rank", [], dist_reduce_fx="cat")

    def update(
        self,
        query_old: Tensor | Sequence[Tensor],
        query_new: Tensor,
        query_labels: Tensor,
        query_groups: Tensor,
        correct_before: Tensor | None = None,
    ) -> None:
        """Add queries.

        Args:
            query_old: (Q, D_old), compared with items before their backfill; one for each part of the gallery.
            query_new: (Q, D_new), compared with items after it.
            query_labels: (Q,).
            query_groups: (Q,); gallery items of the query's group are ignored.
            correct_before: (Q,) bool, queries that the old system answers correctly at rank 1, the reference of
                the negative flips; default: at the first completion ratio.
        """
        olds = [query_old] if isinstance(query_old, Tensor) else query_old
        queries = [Queries(old, query_new, query_labels, query_groups) for old in olds]
        engines = [
            choose_engine(gallery, part, self.backend, self.gallery_sharded)
            for gallery, part in zip(self.galleries, queries, strict=True)
        ]
        count = len(query_labels)
        kept: list[Tensor] = []
        if self.per_query:
            shape = (count, *self.ap_sum.shape)
            kept = [self.ap_sum.new_full(shape, torch.nan), self.hit_sum.new_zeros(shape)]
        with tqdm(total=count, desc="Replaying", disable=None if self.show_progress else True, leave=False) as bar:
            for rows, figures in replay(engines, queries, self.query_chunk, self.gallery_sharded):
                self._add(figures, None if correct_before is None else correct_before[rows])
                for whole, part in zip(kept, figures, strict=False):
                    whole[rows] = part.permute(2, 0, 1)
                bar.update(len(rows))
        if self.per_query:
            self.average_precision.append(kept[0])
            self.first_rank.append(kept[1])

    def _add(self, figures: Figures, correct_before: Tensor | None) -> None:
        precision, rank = figures
        evaluated = rank[0, 0] > 0
        hits = [(rank > 0) & (rank <= k) for k in self.top_k]
        correct = rank == 1
        before = correct[0, 0] if correct_before is None else correct_before
        self.ap_sum += precision.nan_to_num(0.0).sum(2)
        self.hit_sum += torch.stack([hit.sum(2) for hit in hits])
        self.flip_sum += (before & ~correct & evaluated).sum(2)
        self.queries += evaluated.sum()
        self.skipped += (~evaluated).sum()

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
