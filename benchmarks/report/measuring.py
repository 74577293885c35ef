"""What each query sees along a way: by labels, or without them by what the new system would show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from compat.backfill import Curve, backfill_curve
from compat.decision.overlap import nearest, overlap_curve
from compat.embeddings import Embeddings
from compat.engine.exact import Distance
from compat.experience import Learner, learning_curve
from compat.experience.replay import refit_at, refit_points
from compat.experience.seen import baseline
from compat.merge import Merge
from compat.methods.upgrade import Upgrade

REFIT = (0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


class QueryCurves(NamedTuple):
    """What queries see: (Q, T) each, and how often each item was written anew.

    Attributes:
        values: average precision, or overlap.
        correct: share of the orders with a correct first item; all 0 without labels.
        passes: of an encoder for each query, after most of the refits.
        rewritten: times an item is written besides.
    """

    values: np.ndarray
    correct: np.ndarray
    passes: int = 2
    rewritten: float = 0.0


class Measuring:
    """Measures ways on one gallery.

    Args:
        plain: the four matrices of the two systems as they are.
        progress: (T,) completion ratios.
        labelled: whether labels are known; without them `overlap_curve` stands in.
        distance: of the retrieval.
    """

    def __init__(self, plain: Embeddings, progress: np.ndarray, labelled: bool, distance: Distance) -> None:
        self.plain, self.progress, self.labelled, self.distance = plain, progress, labelled, distance
        self.truth: Tensor | None = None if labelled else nearest(plain, distance=distance)

    def served(self, e: Embeddings, orders: np.ndarray, merge: Merge | None = None) -> QueryCurves:
        """Of four matrices that do not change on the way, as a mean over orders (S, G)."""
        if self.labelled:
            return _of(backfill_curve(e, orders, self.progress, distance=self.distance, merge=merge, per_query=True))
        shown = [self._overlap(e, order, self.progress, merge) for order in orders]
        return QueryCurves(np.mean(shown, 0), np.zeros_like(shown[0]))

    def learned(self, learner: Learner, upgrade: Upgrade, orders: np.ndarray) -> QueryCurves:
        """Of a learner that is refitted on the way, on top of the two systems as they are."""
        if self.labelled:
            curve, took = learning_curve(self.plain, upgrade, learner, list(orders), REFIT, self.progress)
            written = took.rewritten.sum(1).mean() / (4 * self.plain.gallery_new.numel())
            return _of(curve)._replace(passes=int(np.median(took.passes[:, 1:])), rewritten=float(written))
        found = [self._learned(learner, upgrade, order) for order in orders]
        values = np.mean([one.values for one in found], 0)
        return found[0]._replace(values=values)

    def _learned(self, learner: Learner, upgrade: Upgrade, order: np.ndarray) -> QueryCurves:
        e, moments, known = self.plain, refit_points(REFIT), baseline(upgrade)
        parts, passes, written = [], [], 0.0
        for moment, until in zip(moments, [*moments[1:], np.inf], strict=True):
            serving = refit_at(e, learner, known, order, moment)
            some = self.progress[(moment <= self.progress) & (self.progress < until)]
            passes.append(serving.passes)
            written += (1 - moment) * serving.rewrites
            if len(some):
                with torch.inference_mode():
                    query = serving.query(e.query_old, e.query_new).clone()
                searched = e.replace(query_old=query, gallery_old=serving.gallery)
                parts.append(self._overlap(searched, order, some, serving.merge))
        values = np.concatenate(parts, 1)
        return QueryCurves(values, np.zeros_like(values), int(np.median(passes[1:])), written)

    def _overlap(self, e: Embeddings, order: np.ndarray, points: np.ndarray, merge: Merge | None) -> np.ndarray:
        return overlap_curve(e, order, points, distance=self.distance, merge=merge, truth=self.truth)


def _of(curve: Curve) -> QueryCurves:
    assert curve.average_precision is not None
    assert curve.first_rank is not None
    return QueryCurves(curve.average_precision.mean(1), (curve.first_rank == 1).mean(1))
