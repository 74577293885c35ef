"""Measure each way through a backfill, query by query."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.report.ways import SWITCH, MethodCurves
from compat.backfill import Curve, backfill_curve
from compat.batch import Pair
from compat.decision import Effort
from compat.decision.overlap import nearest, overlap_curve
from compat.embeddings import Embeddings
from compat.engine.exact import Distance, distances
from compat.errors import InputError
from compat.experience import Learner, OwnBack, OwnCalibration, OwnForward, learning_curve
from compat.experience.replay import refit_at, refit_points
from compat.experience.seen import baseline
from compat.merge import Merge, Quantile, QueryZScore, ReciprocalRank, ZScore
from compat.methods import Affine, KernelGallery, Procrustes, Upgrade
from compat.models import Precomputed
from compat.needs import Given
from compat.orders import Clusters, Density, OrderGiven
from compat.progress import backfill_order
from compat.system import serve

REFIT = (0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


class QueryCurves(NamedTuple):
    """The quality of each query's results: (Q, T) each, and the number of rewrites per item.

    Attributes:
        values: average precision, or overlap.
        correct: share of the orders with a correct first item; all 0 without labels.
        passes: encoder passes per query, after most of the refits.
        rewritten: additional writes per item.
        figures: name of a metric -> (T,) mean over the queries and orders; empty without labels.
    """

    values: np.ndarray
    correct: np.ndarray
    passes: int = 2
    rewritten: float = 0.0
    figures: Mapping[str, np.ndarray] = {}


class Measuring:
    """Measure ways on one gallery.

    Args:
        plain: the four matrices of the two plain systems.
        progress: (T,) completion ratios.
        labelled: whether labels are known; without them `overlap_curve` stands in.
        distance: of the retrieval.
    """

    def __init__(self, plain: Embeddings, progress: np.ndarray, labelled: bool, distance: Distance) -> None:
        self.plain, self.progress, self.labelled, self.distance = plain, progress, labelled, distance
        self.metrics = ["ndcg_10"] if plain.relevance is None else ["ndcg_10", "judged_10"]
        self.truth: Tensor | None = None if labelled else nearest(plain, distance=distance)

    def served(self, e: Embeddings, orders: np.ndarray, merge: Merge | None = None) -> QueryCurves:
        """Measure four fixed matrices, as a mean over orders (S, G)."""
        if self.labelled:
            curve = backfill_curve(
                e, orders, self.progress, distance=self.distance, merge=merge, metrics=self.metrics, per_query=True
            )
            return _of(curve)
        shown = [self._overlap(e, order, self.progress, merge) for order in orders]
        return QueryCurves(np.mean(shown, 0), np.zeros_like(shown[0]))

    def learned(self, learner: Learner, upgrade: Upgrade, orders: np.ndarray) -> QueryCurves:
        """Measure an online method, on top of the two plain systems."""
        if self.labelled:
            given = (self.plain, upgrade, learner, list(orders), REFIT, self.progress)
            curve, took = learning_curve(*given, metrics=self.metrics)
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
    figures = {name: curve.mean(name) for name in curve.figures}
    return QueryCurves(curve.average_precision.mean(1), (curve.first_rank == 1).mean(1), figures=figures)


PAIRS = 1000  # of training rows, whose distances to each other a rule is fitted on
BY_NEIGHBOURS = ("density", "clusters")  # orders whose first items are alike: nothing is learned of the others
LEARNERS: dict[str, type[Learner]] = {
    "own_calibration": OwnCalibration,
    "own_back": OwnBack,
    "own_forward": OwnForward,
}
SOLVED: dict[str, type[Procrustes | Affine | KernelGallery]] = {
    "procrustes": Procrustes,
    "affine": Affine,
    "kernel_gallery": KernelGallery,
}


class ServedEmbeddings(NamedTuple):
    """The four matrices as served by a method, with its name and description."""

    name: str
    effort: Effort
    embeddings: Embeddings
    words: str


class Extras(NamedTuple):
    """The optional inputs beside the four matrices.

    Attributes:
        training: pairs (N, D_old) and (N, D_new) of a training set.
        transform: (Q, D_old) stand-in for old queries by the user's transform, and its name.
        orders: name -> (S, G) the user's orders.
        seeds: of random orders.
        both: whether old queries are given.
        served: further methods, restricted to the sample.
    """

    training: tuple[Tensor, Tensor] | None = None
    transform: tuple[str, Tensor] | None = None
    orders: dict[str, np.ndarray] = {}  # noqa: RUF012
    seeds: int = 1
    both: bool = True
    served: Sequence[ServedEmbeddings] = ()


def orders_of(e: Embeddings, extras: Extras) -> dict[str, np.ndarray]:
    """Return every order by its name, (S, G)."""
    items, seeds = len(e.gallery_old), [(seed,) for seed in range(extras.seeds)]
    found = {"random": np.stack([backfill_order(items, seed) for seed in range(extras.seeds)])}
    for name, order in (("density", Density()), ("clusters", Clusters())):
        if items > 2:
            known = {"old gallery": e.gallery_old}
            given = OrderGiven(order.needs, known, name, items=items, progress=np.zeros(0))
            found[name] = order.orders(given, seeds)
    return {**found, **extras.orders}


def try_all(measuring: Measuring, extras: Extras) -> Iterator[MethodCurves]:
    """Yield each measured way: first wait and switch, second, with both models' queries, the plain merge."""
    e = measuring.plain
    orders = orders_of(e, extras)
    old: MethodCurves | None = None
    for method, effort, served in serve_matrices(e, extras):
        for order, rows in orders.items():
            seen = measuring.served(served, rows)
            if old is None:
                yield (old := _switch(seen))
            yield _way((method, order, "raw"), effort, seen, order)
        scaled = measuring.served(served, orders["random"], QueryZScore())
        yield _way((method, "random", "query_z_score"), effort._replace(rule=True), scaled, "random")
    if extras.both:
        yield from _of_both(measuring, extras, orders)


def _of_both(measuring: Measuring, extras: Extras, orders: dict[str, np.ndarray]) -> Iterator[MethodCurves]:
    """Measure other rules for the two plain models, and online methods (by cosine, as their models need it)."""
    e = measuring.plain
    for order, rows in orders.items():
        for rule, merge in rules(extras, measuring):
            effort = Effort(passes=2, training=bool(merge.needs), rule=True)
            yield _way(("independent", order, rule), effort, measuring.served(e, rows[:1], merge), order)
        if measuring.distance != "cosine" or order in BY_NEIGHBOURS:
            continue
        for method, kind in LEARNERS.items():
            old, new = (Precomputed(matrix.shape[1]) for matrix in (e.gallery_old, e.gallery_new))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a method without a fit serves as before
                seen = measuring.learned(kind(old, new), Upgrade(old, new), rows[:1])
            effort = Effort(passes=seen.passes, rewrites=seen.rewritten > 0, rule=method == "own_calibration")
            yield _way((method, order, "learned"), effort, seen, order)


def serve_matrices(e: Embeddings, extras: Extras) -> Iterator[tuple[str, Effort, Embeddings]]:
    """Yield the four matrices served by each method with a fixed transform."""
    if extras.both:
        yield "independent", Effort(passes=2), e
    if extras.transform is not None:
        name, queries = extras.transform
        yield name, Effort(training=True), e.replace(query_old=queries)
    for one in extras.served:
        yield one.name, one.effort, one.embeddings
    if extras.training is not None:
        old, new = extras.training
        models = [Precomputed(rows.shape[1]) for rows in (old, new)]
        for name, kind in SOLVED.items():
            method = kind(models[0], models[1])
            try:
                method.solve(Pair(old, new, torch.zeros(len(old), dtype=torch.int64)))
            except torch.linalg.LinAlgError as error:
                reason = str(error).split(". ")[0]
                raise InputError(f"train_old: {name} of these rows: {reason}; expected different rows") from error
            yield name, Effort(training=True, rewrites=method.transforms_gallery), serve(method, e)


def rules(extras: Extras, measuring: Measuring) -> Iterator[tuple[str, Merge]]:
    """Return the fitted merge rules for the two plain models in any order."""
    if measuring.labelled:  # by ranks there is no overlap to compute
        yield "reciprocal_rank", ReciprocalRank()
    if extras.training is not None:
        apart = ~torch.eye(min(PAIRS, len(extras.training[0])), dtype=torch.bool)
        some = [rows[:PAIRS] for rows in extras.training]
        spaces = tuple(distances(rows, rows, measuring.distance)[apart].numpy() for rows in some)
        for name, rule in (("z_score", ZScore()), ("quantile", Quantile())):
            try:
                rule.fit(Given(rule.needs, {"training distances": lambda: spaces}, name))
            except InputError:
                continue  # distances without a spread
            yield name, rule


def _way(names: tuple[str, str, str], effort: Effort, seen: QueryCurves, order: str) -> MethodCurves:
    effort = effort._replace(order=order != "random")
    rewritten = seen.rewritten or float(effort.rewrites)
    return MethodCurves(*names, effort, seen.values, seen.correct, rewritten, seen.figures)


def _switch(seen: QueryCurves) -> MethodCurves:
    values = np.repeat(seen.values[:, :1], seen.values.shape[1], 1)
    correct = np.repeat(seen.correct[:, :1], seen.correct.shape[1], 1)
    figures = {name: np.repeat(curve[:1], len(curve)) for name, curve in seen.figures.items()}
    return MethodCurves(SWITCH, "", "", Effort(), values, correct, figures=figures)


class Trial(NamedTuple):
    """All ways on the evaluated queries.

    Attributes:
        e: the four matrices of the sample.
        progress: (T,) completion ratios.
        rows: (Q,) the evaluated queries.
        ways: with the values of these queries alone, the first to wait and switch.
        areas: (C, Q) of each way.
        halves: places of the choosing and of the reporting queries.
    """

    e: Embeddings
    progress: np.ndarray
    rows: np.ndarray
    ways: list[MethodCurves]
    areas: np.ndarray
    halves: tuple[np.ndarray, np.ndarray]

    @property
    def start(self) -> np.ndarray:
        """The old system's values, (Q,)."""
        return self.ways[0].values[:, 0]

    @property
    def end(self) -> np.ndarray:
        """The new system's values, (Q,)."""
        return self.ways[1].values[:, -1]
