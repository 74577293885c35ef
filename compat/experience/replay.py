"""Replay of a backfill with an online method: refitted at some points, exact between them."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from compat.backfill import Curve, backfill_curve, joined
from compat.curve_metrics import CurveMetric
from compat.embeddings import Embeddings
from compat.errors import InputError
from compat.experience.learners import Learner
from compat.experience.seen import Baseline, SeenItems, Serving, baseline, serve_baseline
from compat.methods.upgrade import Upgrade
from compat.progress import backfill_steps, completion_ratios


@dataclass(frozen=True)
class Refits:
    """Cost and effect of refits, for each order and refit point, (S, K).

    Attributes:
        seconds: time of learning, with the prediction of items for serving.
        mapping: time of that prediction alone, for the whole gallery, measured once more; 0 without one.
        passes: encoder passes per query from then on.
        rewritten: bytes written for items not migrated, as float32.
        expected: the learner's estimate of the mean squared error of their predictions, of length 1; NaN if it has
            none.
        observed: the actual error, unknown before the items are migrated.
    """

    seconds: np.ndarray
    mapping: np.ndarray
    passes: np.ndarray
    rewritten: np.ndarray
    expected: np.ndarray
    observed: np.ndarray


def learning_curve(
    served: Embeddings,
    upgrade: Upgrade,
    learner: Learner,
    orders: Sequence[np.ndarray],
    refit: Sequence[float],
    progress: Any = 11,
    correct_before: Any = None,
    metrics: Iterable[str] | Mapping[str, CurveMetric] = (),
    before: Embeddings | None = None,
) -> tuple[Curve, Refits]:
    """Replay a backfill with a learner refitted at some completion ratios to the pairs migrated so far.

    Between refits nothing changes, so one pass of `backfill_curve` gives all completion ratios between them exactly. A
    learner receives the gallery before its backfill and the new embeddings of migrated items, and decides how to search
    before it sees a query.

    Args:
        served: the four matrices as the baseline serves them.
        upgrade: the baseline.
        learner: see `Learner.refit`.
        orders: S permutations of the gallery (G,).
        refit: shares of the gallery (K,), ascending; 0 is implied.
        progress: completion ratios, see `backfill_curve`.
        correct_before: see `backfill_curve`.
        metrics: see `backfill_curve`.
        before: see `backfill_curve`; default: what is served without the learner.

    Returns:
        The `Curve` with per-query figures, and the cost of refits.

    Raises:
        InputError: refit points outside [0, 1] or not ascending; errors of `backfill_curve`.
    """
    points, moments = completion_ratios(progress), refit_points(refit)
    backfill_steps(np.asarray(orders), len(served.gallery_old), points)
    known = baseline(upgrade)
    if correct_before is None:
        start = backfill_curve(served, orders[0], points[:1], per_query=True)
        assert start.first_rank is not None
        correct_before = start.first_rank[:, 0, 0] == 1
    before = served if before is None else before
    took = Refits(*(np.zeros((len(orders), len(moments))) for _ in fields(Refits)))
    curves, failures = [], []
    for s, order in enumerate(orders):
        parts = []
        for k, (moment, until) in enumerate(zip(moments, [*moments[1:], np.inf], strict=True)):
            started = time.perf_counter()
            serving = refit_at(served, learner, known, order, moment)
            took.seconds[s, k] = time.perf_counter() - started
            took.mapping[s, k] = mapping_seconds(served, serving)
            took.passes[s, k] = serving.passes
            left = len(order) - int(np.floor(moment * len(order)))
            took.rewritten[s, k] = 4 * left * serving.gallery.shape[1] if serving.rewrites else 0
            took.expected[s, k], took.observed[s, k] = (
                serving.expected_error,
                observed_error(served, serving, order[len(order) - left :]),
            )
            failures += [serving.failure] if serving.failure else []
            if len(some := points[(moment <= points) & (points < until)]):
                given = {"correct_before": correct_before, "before": before, "metrics": metrics}
                parts.append(curve_between(served, serving, order, some, **given))
        curves.append(joined(parts, 1))
    if failures:
        warnings.warn(f"{failures[0]}; the baseline keeps serving", stacklevel=2)
    return joined(curves, 0), took


def refit_points(refit: Sequence[float]) -> np.ndarray:
    """Check refit points and prepend 0, where nothing has been seen, (K,).

    Raises:
        InputError: no list of numbers, a point outside [0, 1], points which do not ascend.
    """
    try:
        points = np.asarray(refit, float)
    except (TypeError, ValueError) as error:
        raise InputError(f"refit: {refit!r}, expected shares of the gallery") from error
    if points.ndim != 1:
        raise InputError(f"refit: {refit!r}, expected a list of shares of the gallery")
    for point in points:
        if not 0 <= point <= 1:
            raise InputError(f"refit: {point:g}, expected shares of the gallery in [0, 1]")
    if (np.diff(points) <= 0).any():
        raise InputError(f"refit: {points.tolist()}, expected ascending shares of the gallery")
    return np.concatenate([[0.0], points[points > 0]])


def refit_at(served: Embeddings, learner: Learner, known: Baseline, order: np.ndarray, moment: float) -> Serving:
    """Refit a fresh copy of the learner at a completion ratio, to copies of the migrated items' embeddings.

    Nothing is carried over from one refit, or one order, to the next.
    """
    rows = torch.from_numpy(order[: int(np.floor(moment * len(order)))].copy())
    seen = SeenItems(served.gallery_old.clone(), rows, served.gallery_new[rows])
    return copy.deepcopy(learner).refit(seen, known) if len(rows) else serve_baseline(seen, known)


def mapping_seconds(served: Embeddings, serving: Serving) -> float:
    """Measure the prediction of the whole gallery; 0 if items are searched unchanged."""
    if serving.item is None:
        return 0.0
    started = time.perf_counter()
    serving.item(served.gallery_old)
    return time.perf_counter() - started


def observed_error(served: Embeddings, serving: Serving, left: np.ndarray) -> float:
    """Return the mean squared error of predicted new embeddings; NaN without predictions."""
    if np.isnan(serving.expected_error):
        return np.nan
    new = torch.nn.functional.normalize(served.gallery_new[left], dim=1)
    return float(((serving.gallery[left] - new) ** 2).sum(1).mean())


def curve_between(served: Embeddings, serving: Serving, order: np.ndarray, points: np.ndarray, **options: Any) -> Curve:
    """Compute the curve at completion ratios between two refits; gallery and merge rule are fixed before any query."""
    gallery, merge = serving.gallery.clone(), copy.deepcopy(serving.merge)
    with torch.inference_mode():
        query = serving.query(served.query_old, served.query_new)
    e = served.replace(query_old=query, gallery_old=gallery)
    return backfill_curve(e, order, points, merge=merge, per_query=True, **options)
