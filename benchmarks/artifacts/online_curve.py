"""The replay of an online method, trained during the backfill."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.artifacts.curve import bytes_written, log_curve, lost_from, map_seconds, tensors_of
from benchmarks.artifacts.kinds import OnlineCurve
from benchmarks.artifacts.matrices import matrices
from benchmarks.artifacts.measured import build_metrics
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.systems import Method, upgrade
from compat.experience.replay import learning_curve


def replay(artifact: OnlineCurve, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Compute the lists of a result, and of each refit, (S, K): seconds, passes per query, expected and true errors."""
    built, served = upgrade(store, artifact.upgrade), matrices(store, artifact.upgrade, artifact.images)
    learner = artifact.learner.build(Method)(built.method.old, built.method.new)
    orders = list(store.get(artifact.order)["order"].numpy())
    correct = store.get(artifact.before)["correct"]
    metrics = build_metrics(artifact.metrics)
    asked = (artifact.refit, artifact.progress, correct, metrics, lost_from(artifact, store, metrics))
    curve, took = learning_curve(served, built.method, learner, orders, *asked)
    lists = tensors_of(curve)
    log_curve(folder, curve)
    written = bytes_written(artifact.upgrade, served)
    anew = took.rewritten.sum(1).mean() / len(served.gallery_old)
    return {
        **lists,
        **written,
        "bytes_per_item": torch.tensor(round(float(written["bytes_old"] + written["bytes_new"]) + anew)),
        "map_seconds": torch.tensor(map_seconds(store, artifact.upgrade)),
        "refit_rewritten": torch.from_numpy(took.rewritten),
        "refit_seconds": torch.from_numpy(took.seconds),
        "refit_mapping": torch.from_numpy(took.mapping),
        "refit_passes": torch.from_numpy(took.passes),
        "refit_expected": torch.from_numpy(took.expected),
        "refit_observed": torch.from_numpy(took.observed),
    }
