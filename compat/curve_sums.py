"""The sums behind a curve: each metric of `compat.curve_metrics` added up over queries, in one replay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from tqdm.auto import tqdm

from compat.curve_metrics import CurveMetric
from compat.engine.base import Engine
from compat.engine.exact import NO_RANK, EngineGallery, Figures, Queries, Wanted
from compat.engine.replay import Backend, choose_engine, figures_of, replay
from compat.errors import InputError

CACHED = 2**15  # ranks at a time


class OldSystem(NamedTuple):
    """The old system alone, the reference of negative flips and losses: its gallery, and each part's queries."""

    galleries: Sequence[EngineGallery]
    queries: Sequence[Queries]


class CurveSums(NamedTuple):
    """Sums over the queries that have a positive; M metrics, S orders, T completion ratios.

    Attributes:
        sums: (M, S, T) float64.
        queries: queries with a positive.
        skipped: queries without one.
        average_precision: (Q, S, T) of each query, NaN if skipped; None if not asked for.
        first_rank: (Q, S, T) of each query's first positive, 0 if skipped; None if not asked for.
    """

    sums: Tensor
    queries: int
    skipped: int
    average_precision: Tensor | None = None
    first_rank: Tensor | None = None


def curve_sums(
    galleries: Sequence[EngineGallery],
    queries: Sequence[Queries],
    metrics: Mapping[str, CurveMetric],
    correct_before: Tensor | None = None,
    before: OldSystem | None = None,
    *,
    backend: Backend = "auto",
    query_chunk: int | None = None,
    gallery_sharded: bool = False,
    per_query: bool = False,
    show_progress: bool = False,
) -> CurveSums:
    """Replay a backfill and sum the metrics over the queries.

    Args:
        galleries: the parts of the gallery, with the completion ratio at which each item is backfilled.
        queries: the same queries as each part compares them with its old items.
        metrics: by name.
        correct_before: (Q,) bool, queries the old system answers correctly at rank 1, the reference of the negative
            flips; default: those of `before`.
        before: the old system, in as many parts; default: the first completion ratio.
        backend: "numba" (on the CPU), "torch" (on any device) or "auto".
        query_chunk: queries at a time; by default as many as take about 256 MiB.
        gallery_sharded: each process of torch.distributed has a shard of the gallery and all queries.
        per_query: keep each query's average precision and first rank.
        show_progress: draw a progress bar.

    Raises:
        InputError: a merge rule for a gallery in several parts.
    """
    check_parts(galleries)
    wanted, galleries = _wanted(metrics.values(), galleries)
    engines = [choose_engine(*part, backend, gallery_sharded) for part in zip(galleries, queries, strict=True)]
    lost = any(metric.needs_reach for metric in metrics.values())
    alone: list[Engine] = []
    if before is not None and (lost or correct_before is None):
        parts = zip(_wanted(metrics.values(), before.galleries)[1], before.queries, strict=True)
        alone = [choose_engine(*part, backend, gallery_sharded) for part in parts]
    count, curves = len(queries[0].labels), (len(galleries[0].step), galleries[0].points)
    sums = queries[0].new.new_zeros((2, len(metrics), *curves), dtype=torch.float64)
    found, skipped, kept = 0, 0, []
    if per_query:
        kept = [sums.new_full((count, *curves), torch.nan), sums.new_zeros((count, *curves), dtype=torch.int64)]

    min_grade = galleries[0].min_grade

    def summary(rows: Tensor, figures: Figures) -> tuple[Figures, Tensor]:
        old = figures
        if before is not None and alone:
            old = figures_of(rows, alone, before.queries, gallery_sharded, Wanted(reach=wanted.reach))
        correct = old.first_rank[0, 0] == 1 if correct_before is None else correct_before[rows]
        reach = None if old.reach is None else old.reach[0, 0]
        if reach is not None and figures.grades is not None:
            reach = reach.where(figures.grades >= min_grade, NO_RANK)
        given = figures._replace(correct_before=correct, reach_before=reach)
        return figures._replace(ranks=None, reach=None), summed(given, metrics)

    with tqdm(total=count, desc="Replaying", disable=None if show_progress else True, leave=False) as bar:
        for rows, (figures, part) in replay(engines, queries, query_chunk, gallery_sharded, wanted, summary):
            sums += part
            evaluated = int((figures.relevant > 0).sum())
            found, skipped = found + evaluated, skipped + len(rows) - evaluated
            for whole, values in zip(kept, figures[:2], strict=False):
                whole[rows] = values.permute(2, 0, 1)
            bar.update(len(rows))
    return CurveSums(sums.sum(0), found, skipped, *kept)


def _wanted(
    metrics: Collection[CurveMetric], galleries: Sequence[EngineGallery]
) -> tuple[Wanted, Sequence[EngineGallery]]:
    """Return the figures that the metrics read, and the galleries with the judgements they read."""
    reach = any(metric.needs_reach for metric in metrics)
    if galleries[0].relevance is None:
        return Wanted(any(metric.needs_ranks for metric in metrics), reach), galleries
    judged = [metric.lowest_grade for metric in metrics if metric.lowest_grade is not None]
    ranks = any(metric.needs_ranks for metric in metrics if metric.lowest_grade is None)
    kept = []
    for gallery in galleries:
        assert gallery.relevance is not None
        kept.append(replace(gallery, relevance=gallery.relevance.at_least(min([gallery.min_grade, *judged]))))
    return Wanted(ranks, reach or bool(judged)), kept


def check_parts(galleries: Sequence[EngineGallery]) -> None:
    """Refuse a merge rule for a gallery in several parts."""
    if len(galleries) > 1 and any(part.merge is not None for part in galleries):
        raise InputError(f"merge: for a gallery in {len(galleries)} parts, expected it whole")


def summed(figures: Figures, metrics: Mapping[str, CurveMetric]) -> Tensor:
    """Sum each metric over the queries that have a positive, (2, M, S, T) in two parts."""
    skipped = figures.relevant == 0
    if bool(skipped.all()):
        curves = (len(metrics), *figures.first_rank.shape[:2])
        return figures.average_precision.new_zeros((2, *curves), dtype=torch.float64)
    parts = split(figures)
    sums = []
    for metric in metrics.values():
        reads = metric.needs_ranks or metric.needs_reach or metric.lowest_grade is not None
        values = torch.cat([metric.of(part) for part in parts], 2) if reads else metric.of(figures)
        sums.append(sum_in_parts(values.double().clone().masked_fill_(skipped, 0.0)))
    return torch.stack(sums, 1)


def sum_in_parts(values: Tensor) -> Tensor:
    """Sum values between 0 and 1 over the last axis in two parts, whose sum has the same digits in any order.

    Values are split at 26 bits: the sum of the upper parts is exact, and that of the lower ones so small that its
    rounding is lost.

    Args:
        values: (..., Q) float64.

    Returns:
        (2, ...).
    """
    upper = (values * 2**26).round_() * 2.0**-26
    return torch.stack([upper.sum(-1), (values - upper).sum(-1)])


def split(figures: Figures) -> list[Figures]:
    """Split figures by query into parts whose ranks stay in the processor's cache."""
    widest = figures.reach if figures.ranks is None else figures.ranks
    if widest is None:
        return [figures]
    of_query = widest[:, :, :1].numel()
    rows = max(1, CACHED // max(of_query, 1))
    axes = (2, 2, 0, 2, 0, 2, 0, 0)  # of the queries
    fields = [
        [None] * -(-len(figures.relevant) // rows) if field is None else field.split(rows, axis)
        for field, axis in zip(figures, axes, strict=True)
    ]
    return [Figures(*part) for part in zip(*fields, strict=True)]


def of_all_processes(own: CurveSums) -> CurveSums:
    """Add the sums of all processes of torch.distributed and concatenate their queries by rank."""
    device = own.sums.device
    cpu = [value.cpu() if isinstance(value, Tensor) else value for value in own]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, cpu)
    sums, queries, skipped, *each = zip(*parts, strict=True)
    rows = [None if of[0] is None else torch.cat(of).to(device) for of in each]
    return CurveSums(torch.stack(sums).sum(0).to(device), sum(queries), sum(skipped), *rows)
