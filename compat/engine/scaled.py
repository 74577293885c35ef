"""The replay under `compat.merge.QueryZScore`, whose scales belong to a query and a completion ratio.

At each completion ratio the items are ranked by their standardised distances: one threshold for each positive, and a
count of the items at or below it. Nothing carries over to the next ratio, as every item's value changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from compat.engine.exact import (
    NO_RANK,
    NOTHING_MORE,
    EngineGallery,
    ExactChunk,
    Figures,
    Positives,
    Queries,
    TorchEngine,
    Wanted,
    figures,
    thresholds_of,
)
from compat.engine.samples import standardised, standards
from compat.engine.scaled_kernels import IGNORED, scaled_figures


class ScaledChunk(NamedTuple):
    """The distances of a chunk of queries, and their scales (S, T, Q, 2, 2), see `standards`."""

    exact: ExactChunk
    scales: Tensor


class ScaledEngine:
    """The replay of one gallery with samples, in torch operations, on the device of its tensors.

    Args:
        gallery: whole or a shard, with samples.
    """

    threaded = False

    def __init__(self, gallery: EngineGallery) -> None:
        self.gallery, self.exact = gallery, TorchEngine(gallery)

    def measure(self, queries: Queries) -> ScaledChunk:
        scales = standards(self.gallery.samples, queries, self.gallery.distance)
        return ScaledChunk(self.exact.measure(queries), scales)

    def positives(self, measured: ScaledChunk) -> Positives:
        return self.exact.positives(measured.exact)

    def figures(self, queries: Queries, wanted: Wanted = NOTHING_MORE) -> Figures:
        measured = self.measure(queries)
        return self.counted(measured, self.positives(measured), wanted)

    def counted(
        self,
        measured: ScaledChunk,
        positives: Positives,
        wanted: Wanted,
        add: Callable[[Tensor], object] | None = None,
    ) -> Figures:
        """Compute the figures at each completion ratio as those of a replay with this ratio alone.

        Args:
            measured: the distances in this gallery.
            positives: of the whole gallery.
            wanted: further figures.
            add: adds the counts of the other shards to a tensor.
        """
        exact, orders = measured.exact, []
        for s, step in enumerate(self.gallery.step):
            points = []
            for t, scales in enumerate(measured.scales[s]):
                moment = TorchEngine(replace(self.gallery, step=(step > t).long()[None], points=1))
                old, new = scales.unbind(1)
                items = ExactChunk(standardised(exact.old, old), standardised(exact.new, new), *exact[2:])
                relevant = Positives(
                    standardised(positives.old, old),
                    standardised(positives.new, new),
                    (positives.step[s : s + 1] > t).long(),
                    positives.found,
                    positives.grades,
                )
                thresholds = thresholds_of(relevant)
                counts = moment.ranks(items, thresholds)
                if add is not None:
                    add(counts)
                points.append(figures(counts, relevant, thresholds, wanted, self.gallery.min_grade))
            orders.append(_joined(points, 1))
        return _joined(orders, 0)

    def bytes_per_query(self, items: int, width: int) -> int:
        return 128 * items


def _joined(parts: list[Figures], axis: int) -> Figures:
    """Join the figures of completion ratios (axis 1) or orders (axis 0)."""
    average, first, relevant, *more = zip(*parts, strict=True)
    ranks, _, reach, grades, _ = more
    each, reached = (None if values[0] is None else torch.cat(values, axis) for values in (ranks, reach))
    return Figures(torch.cat(average, axis), torch.cat(first, axis), relevant[0], each, None, reached, grades[0])


class ScaledCpuEngine(ScaledEngine):
    """The same, compiled for the CPU; what counts judged items one by one is left to torch.

    Args:
        gallery: whole, with samples, on the CPU.
    """

    threaded = True

    def __init__(self, gallery: EngineGallery) -> None:
        super().__init__(gallery)
        self.step = gallery.step.int().numpy()
        self.orders = np.argsort(self.step, axis=1, kind="stable").astype(np.uint32)
        moments = np.arange(gallery.points)
        self.ends = np.stack([np.searchsorted(np.sort(step), moments, side="right") for step in self.step])

    def figures(self, queries: Queries, wanted: Wanted = NOTHING_MORE) -> Figures:
        if wanted.reach:
            return super().figures(queries, wanted)
        (old, new, listed, ignored, grades), scales = self.measure(queries)
        relevant = listed if grades is None else listed & (grades >= self.gallery.min_grade)
        kind = relevant.to(torch.int8).masked_fill_(ignored, IGNORED).numpy()
        count = relevant.sum(1)
        shape = scales.shape[:3]
        average, first = np.empty(shape), np.empty(shape, np.int64)
        each = np.full((*shape, int(count.max()) if wanted.ranks else 0), NO_RANK, np.int32)
        bounds = np.stack([(rows.amin(1), rows.amax(1)) for rows in (old, new)])
        given = (old.numpy(), new.numpy(), bounds, kind, self.orders, self.ends, self.step, scales.numpy())
        scaled_figures(*given, average, first, each)
        of_each = torch.from_numpy(each) if wanted.ranks else None
        return Figures(torch.from_numpy(average), torch.from_numpy(first), count, of_each)
