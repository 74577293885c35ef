"""Replay upgrades by every method that learns without labels: a line of figures for each method and merge rule."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytorch_lightning as pl

from benchmarks.artifacts.systems import Method
from benchmarks.artifacts.training import fit
from benchmarks.config.spec import Spec
from benchmarks.real.matrices import Matrices
from compat.backfill import Curve, backfill_curve
from compat.batch import Pair
from compat.decision.domain import share_uncovered
from compat.embeddings import Embeddings
from compat.experience import learning_curve
from compat.merge import QueryZScore, Raw
from compat.methods import Upgrade
from compat.models import Precomputed
from compat.needs import Given
from compat.pairs import CachedEmbeddings, PairData
from compat.progress import backfill_order
from compat.system import serve

METRICS = ("ndcg_10",)
KEPT = ("mean_ap", "ndcg_10", "cmc_1", "negative_flip_rate")
MERGES = {"raw": Raw, "query_z_score": QueryZScore}
HEADS = Spec({"class_path": "pytorch_lightning.Trainer", "init_args": {"max_epochs": 30}})
BATCH = 256
PROGRESS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
REFIT = (0.05, 0.1, 0.2, 0.4, 0.6)


def replay_all(
    upgrade: Matrices, specs: Mapping[str, Spec], orders: int, elsewhere: Matrices | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a line for each method and merge rule.

    Args:
        upgrade: the matrices.
        specs: the methods by name. An online method has one line: it chooses its merge rule.
        orders: number of random orders.
        elsewhere: another data set embedded by the same two models: each method in closed form has one more line, by
            raw distances, with the pairs of that data set.
    """
    drawn = np.stack([backfill_order(len(upgrade.plain.gallery_old), seed) for seed in range(orders)])
    for name, spec in specs.items():
        if spec.declared("online", False):
            yield line(upgrade, name, "own", *online(upgrade, spec, drawn))
            continue
        yield from under_each_rule(upgrade, name, spec, drawn, upgrade.pairs, tuple(MERGES))
        if elsewhere is not None and spec.needs() and "head training" not in spec.needs():
            share = share_uncovered(elsewhere.pairs.new, upgrade.plain.gallery_new)
            for one in under_each_rule(upgrade, name, spec, drawn, elsewhere.pairs, ("raw",)):
                yield {**one, "pairs_of": elsewhere.name, "uncovered": round(share, 3)}


def under_each_rule(
    upgrade: Matrices, name: str, spec: Spec, drawn: np.ndarray, pairs: Pair, rules: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Let a method learn from pairs, once, and yield a line for each merge rule."""
    started = time.process_time()
    method = learned(spec, upgrade.plain, pairs)
    served, seconds = serve(method, upgrade.plain), time.process_time() - started
    for merge in rules:
        options = {"metrics": METRICS, "merge": MERGES[merge](), "before": upgrade.plain}
        curve = backfill_curve(served, drawn, PROGRESS, **options)
        yield line(upgrade, name, merge, curve, seconds, method.encoder_passes)


def learned(spec: Spec, plain: Embeddings, pairs: Pair) -> Upgrade:
    """Build a method and let it learn from pairs without labels."""
    pl.seed_everything(0, verbose=False)
    method: Upgrade = spec.build(Method)(Precomputed(plain.query_old.shape[1]), Precomputed(plain.query_new.shape[1]))

    def train(module: pl.LightningModule) -> None:
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's, of few batches
            data = PairData(CachedEmbeddings(*pairs), BATCH, 0, labelled=False)
            fit(module, HEADS, 0, Path(folder), data)

    method.learn(Given(spec.needs(), {"training embeddings": pairs}, type(method).__name__), train)
    return method.eval()


def online(upgrade: Matrices, spec: Spec, drawn: np.ndarray) -> tuple[Curve, float, int]:
    """Replay a method that learns on the way, in the first order; return its curve, CPU seconds and passes."""
    started = time.process_time()
    dims = [Precomputed(rows.shape[1]) for rows in (upgrade.plain.query_old, upgrade.plain.query_new)]
    learner = spec.build(Method)(*dims)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        curve, took = learning_curve(
            upgrade.plain,
            Upgrade(*dims),
            learner,
            list(drawn[:1]),
            REFIT,
            PROGRESS,
            metrics=METRICS,
        )
    return curve, time.process_time() - started, round(float(took.passes.mean()))


def line(upgrade: Matrices, method: str, merge: str, curve: Curve, seconds: float, passes: int) -> dict[str, Any]:
    """Return the figures of one replay, in percent, means over its orders."""
    return {
        "pair": upgrade.name,
        "method": method,
        "merge": merge,
        "orders": len(curve.figures["mean_ap"]),
        "queries": curve.queries,
        "passes": passes,
        "cpu_seconds": round(seconds, 2),
        "progress": list(PROGRESS),
        **{name: [round(100 * float(value), 2) for value in curve.mean(name)] for name in KEPT},
    }
