"""The backfill curve as a torchmetrics metric, for evaluation loops; `backfill_curve` itself needs no torchmetrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from compat.curve_metrics import CurveMetric, select_metrics
from compat.curve_sums import check_parts, curve_sums
from compat.engine.exact import EngineGallery, Queries
from compat.engine.replay import Backend


class BackfillCurve(Metric):
    """Metrics of `compat.curve_metrics` at every completion ratio, for one gallery and any queries.

    The states are sums over queries, so torchmetrics adds up updates and processes exactly.

    Args:
        gallery: with its labels, groups and the completion ratio at which each item is backfilled; or several
            parts of one, whose items are in different spaces before their backfill.
        metrics: by name; default: mAP, CMC@1, CMC@5 and negative flips.
        backend: "numba" (on the CPU), "torch" (on any device) or "auto".
        query_chunk: queries at a time; by default as many as take about 256 MiB.
        gallery_sharded: whether `gallery` is this process's shard; every process then updates with all queries.

    Raises:
        InputError: a merge rule for a gallery in several parts.
    """

    full_state_update = False
    sums: Tensor
    queries: Tensor
    skipped: Tensor

    def __init__(
        self,
        gallery: EngineGallery | Sequence[EngineGallery],
        metrics: Mapping[str, CurveMetric] | None = None,
        backend: Backend = "auto",
        query_chunk: int | None = None,
        gallery_sharded: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.galleries = [gallery] if isinstance(gallery, EngineGallery) else list(gallery)
        check_parts(self.galleries)
        self.metrics = dict(select_metrics((), (1, 5)) if metrics is None else metrics)
        self.backend, self.query_chunk, self.gallery_sharded = backend, query_chunk, gallery_sharded
        curve = (len(self.metrics), len(self.galleries[0].step), self.galleries[0].points)
        self.add_state("sums", torch.zeros(curve, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("queries", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("skipped", torch.tensor(0), dist_reduce_fx="sum")

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
            query_labels: (Q,); of a gallery with judgements, the queries' rows in them.
            query_groups: (Q,); gallery items of the query's group are ignored.
            correct_before: (Q,) bool, queries the old system answers correctly at rank 1, the reference of the negative
                flips; default: at the first completion ratio.
        """
        olds = [query_old] if isinstance(query_old, Tensor) else query_old
        found = curve_sums(
            self.galleries,
            [Queries(old, query_new, query_labels, query_groups) for old in olds],
            self.metrics,
            correct_before,
            backend=self.backend,
            query_chunk=self.query_chunk,
            gallery_sharded=self.gallery_sharded,
        )
        self.sums += found.sums
        self.queries += found.queries
        self.skipped += found.skipped

    def compute(self) -> dict[str, Tensor]:
        """Return each metric's mean over the queries that have a positive, (S, T) float64."""
        return dict(zip(self.metrics, self.sums / self.queries, strict=True))
