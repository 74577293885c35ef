"""The backfill curve as a torchmetrics metric with sum states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from tqdm.auto import tqdm

from compat.curve_metrics import CurveMetric, chosen
from compat.engine.exact import EngineGallery, Figures, Queries
from compat.engine.replay import Backend, choose_engine, replay
from compat.errors import InputError

CACHED = 2**15  # ranks at a time


class CurveMeans(NamedTuple):
    """Means over the queries that have a positive; S orders, T completion ratios.

    Attributes:
        figures: name of a metric -> (S, T) float64.
        queries: queries with a positive.
        queries_without_positive: skipped ones.
        average_precision: (Q, S, T) of each query, NaN if skipped; None if not asked for.
        first_rank: (Q, S, T) of each query's first positive, 0 if skipped; None if not asked for.
    """

    figures: dict[str, Tensor]
    queries: int
    queries_without_positive: int
    average_precision: Tensor | None
    first_rank: Tensor | None


def split(figures: Figures) -> list[Figures]:
    """Figures of some queries after the other, so few that what is made of their ranks stays in the cache."""
    if figures.ranks is None:
        return [figures]
    of_query = figures.ranks[:, :, :1].numel()
    rows = max(1, CACHED // max(of_query, 1))
    axes = (2, 2, 0, 2, 0)  # of the queries
    fields = [
        [None] * -(-len(figures.relevant) // rows) if field is None else field.split(rows, axis)
        for field, axis in zip(figures, axes, strict=True)
    ]
    return [Figures(*part) for part in zip(*fields, strict=True)]


class BackfillCurve(Metric):
    """Metrics of `compat.curve_metrics` at every completion ratio, for one gallery and any queries.

    `update` takes any queries; the states are sums over them, so updates and processes add up exactly as
    `torchmetrics` adds them.

    Args:
        gallery: with its labels, groups and the completion ratio at which each item is backfilled; or several
            parts of one, whose items before their backfill are in different spaces.
        metrics: by name; default: mAP, CMC@1, CMC@5 and negative flips.
        backend: "numba" (on the CPU), "torch" (on any device) or "auto".
        query_chunk: queries at a time; by default as many as take about 256 MiB.
        gallery_sharded: whether `gallery` is this process's shard; every process then updates with all queries.
        per_query: keep each query's average precision and first rank too.
        show_progress: draw a progress bar.
    """

    full_state_update = False
    sums: Tensor
    queries: Tensor
    skipped: Tensor
    average_precision: list[Tensor]
    first_rank: list[Tensor]

    def __init__(
        self,
        gallery: EngineGallery | Sequence[EngineGallery],
        metrics: Mapping[str, CurveMetric] | None = None,
        backend: Backend = "auto",
        query_chunk: int | None = None,
        gallery_sharded: bool = False,
        per_query: bool = False,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.galleries = [gallery] if isinstance(gallery, EngineGallery) else list(gallery)
        if len(self.galleries) > 1 and any(part.merge is not None for part in self.galleries):
            raise InputError(f"merge: for a gallery in {len(self.galleries)} parts, expected it whole")
        self.metrics = dict(chosen((), (1, 5)) if metrics is None else metrics)
        self.backend, self.query_chunk, self.gallery_sharded = backend, query_chunk, gallery_sharded
        self.per_query, self.show_progress = per_query, show_progress
        curve = (len(self.metrics), len(self.galleries[0].step), self.galleries[0].points)
        self.add_state("sums", torch.zeros(curve, dtype=torch.float64), dist_reduce_fx="sum")
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
        count, curves = len(query_labels), self.sums.shape[1:]
        kept: list[Tensor] = []
        if self.per_query:
            kept = [self.sums.new_full((count, *curves), torch.nan), self.queries.new_zeros((count, *curves))]

        def summary(rows: Tensor, figures: Figures) -> tuple[Figures, Tensor]:
            before = figures.first_rank[0, 0] == 1 if correct_before is None else correct_before[rows]
            return figures._replace(ranks=None), self._summed(figures._replace(correct_before=before))

        ranks = any(metric.needs_ranks for metric in self.metrics.values())
        with tqdm(total=count, desc="Replaying", disable=None if self.show_progress else True, leave=False) as bar:
            chunks = replay(engines, queries, self.query_chunk, self.gallery_sharded, ranks, summary)
            for rows, (figures, sums) in chunks:
                self.sums += sums
                evaluated = int((figures.relevant > 0).sum())
                self.queries += evaluated
                self.skipped += len(rows) - evaluated
                for whole, part in zip(kept, figures[:2], strict=False):
                    whole[rows] = part.permute(2, 0, 1)
                bar.update(len(rows))
        if self.per_query:
            self.average_precision.append(kept[0])
            self.first_rank.append(kept[1])

    def _summed(self, figures: Figures) -> Tensor:
        """The sum of each metric over the queries that have a positive, (M, S, T)."""
        skipped = figures.relevant == 0
        if bool(skipped.all()):
            return torch.zeros_like(self.sums)
        parts = split(figures)
        sums = []
        for metric in self.metrics.values():
            values = torch.cat([metric.of(part) for part in parts], 2) if metric.needs_ranks else metric.of(figures)
            sums.append(values.double().clone().masked_fill_(skipped, 0.0).sum(2))
        return torch.stack(sums)

    def compute(self) -> CurveMeans:
        queries = int(self.queries)
        return CurveMeans(
            dict(zip(self.metrics, self.sums / queries, strict=True)),
            queries,
            int(self.skipped),
            dim_zero_cat(self.average_precision) if self.per_query else None,
            dim_zero_cat(self.first_rank) if self.per_query else None,
        )
