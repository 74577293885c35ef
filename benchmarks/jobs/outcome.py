"""Build a job's result from its artifacts: figures from the curve, seconds and provenance from their records."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from benchmarks.artifacts.artifact import Artifact, graph, key
from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import Loaded, OnlineCurve, ServedSystem, Upgraded, Weights
from benchmarks.artifacts.measured import FIGURE
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.config.spec import Spec
from benchmarks.jobs.costs import costs, moments_of, seconds, training_seconds
from benchmarks.jobs.plan import Job
from compat.curve_metrics import CurveMetric
from compat.results import Result, record_name

PROVENANCE = ("git_commit", "versions", "hardware", "threads", "date")


def result(
    job: Job, benchmark: str, spec: dict[str, Any], store: ArtifactStore
) -> tuple[Result, np.ndarray | None, dict[str, Any]]:
    """Return a job's result, each query's area, and the records of its artifacts, by name.

    The curve is made first if it is missing.

    Args:
        job: the job.
        benchmark: its name.
        spec: the method, as in the config.
        store: of the artifacts.
    """
    curve, replayed = store.get(job.curve), job.curve
    begin, end = store.get(replayed.before), store.get(replayed.after)
    method = replayed.upgrade.learned.method
    queries, skipped = curve["queries"].tolist()
    figures = figures_of(curve)
    passes = method.declared("encoder_passes", 2)
    models = [*graph(replayed.before), *graph(replayed.after)]
    took, own = by_label(replayed, store), []
    refits: dict[str, list[float]] = {}
    if isinstance(replayed, OnlineCurve):
        passes, own = passes_of(curve, replayed), ["own pairs"]
        took[f"refit {replayed.name}"] = round(float(curve["refit_seconds"].sum(1).mean()), 2)
        refits = refits_of(curve, replayed)
    data, records = dataset(replayed.images.whole), provenance(replayed, store)
    found = Result(
        benchmark=benchmark,
        labels=dict(job.labels),
        key=key(replayed),
        backbones=[key(one)[:8] for one in dict.fromkeys(models) if isinstance(one, (Weights, Loaded))],
        progress=curve["progress"].tolist(),
        curves={name: values.mean(0).tolist() for name, values in figures.items()},
        mean_ap_orders=figures["mean_ap"].tolist(),
        old={name: float(values[0]) for name, values in figures_of(begin).items()},
        new={name: float(values[1]) for name, values in figures_of(end).items()},
        queries=queries,
        queries_without_positive=skipped,
        gallery_items=len(data.gallery_images()),
        encoder_passes_per_query=passes + (passes - 1 if replayed.overlap else 0),
        bytes_per_item=int(curve["bytes_per_item"]),
        needs={
            "method": list(dict.fromkeys([*own, *needs_of(replayed.upgrade)])),
            "order": list(replayed.order.order.needs()),
            "merge": list(replayed.rule.needs()) if replayed.rule else [],
        },
        starts_at=job.start,
        seconds=took,
        training_seconds=round(training_seconds(replayed.upgrade, store), 2),
        spec=spec,
        refits=refits,
        provenance=list(records),
        images_skipped=data.skipped,
        transforms_gallery=replayed.upgrade.transforms_gallery and not isinstance(replayed, OnlineCurve),
        cost=costs(replayed, curve, store),
        metrics={name: describe_metric(spec) for name, spec in replayed.metrics if spec is not None},
    )
    areas = curve.get("query_auc")
    return found, None if areas is None else areas.double().numpy(), records


def needs_of(upgrade: Upgraded) -> list[str]:
    """Return what a method needs, and the method under it."""
    learned = upgrade.learned
    under = needs_of(learned.new.by) if isinstance(learned.new, ServedSystem) else []
    return [*learned.method.needs(), *under]


def figures_of(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    """Select the figures among an artifact's tensors, by metric."""
    return {name.removeprefix(FIGURE): v.numpy() for name, v in tensors.items() if name.startswith(FIGURE)}


def describe_metric(spec: Spec) -> dict[str, Any]:
    """Describe a metric outside the table for the result."""
    metric: CurveMetric = spec.build(CurveMetric)
    return {"label": metric.label, "higher_is_better": metric.higher_is_better}


def passes_of(curve: dict[str, Any], replayed: OnlineCurve) -> int:
    """Return the embedder passes per query, a rounded mean over the backfill: the base upgrade may take more."""
    passes = curve["refit_passes"].numpy().mean(0)
    return round(float((passes * np.diff([*moments_of(replayed), 1.0])).sum()))


def refits_of(curve: dict[str, Any], replayed: OnlineCurve) -> dict[str, list[float]]:
    """Return, where a model's predictions served in every order: progress, expected and observed error."""
    columns = np.stack(
        [
            np.array([moments_of(replayed)] * len(curve["refit_expected"])),
            curve["refit_expected"].numpy(),
            curve["refit_observed"].numpy(),
        ]
    ).mean(1)
    served = np.isfinite(columns).all(0)
    return dict(zip(("progress", "expected", "observed"), columns[:, served].round(6).tolist(), strict=True))


def by_label(artifact: Artifact, store: ArtifactStore) -> dict[str, float]:
    """Return the seconds of an artifact and its inputs by label; repeated labels are numbered."""
    found, counts = {}, Counter[str]()
    for one in graph(artifact):
        counts[one.label] += 1
        number = counts[one.label]
        found[one.label if number == 1 else f"{one.label} ({number})"] = seconds(one, store)
    return found


def provenance(artifact: Artifact, store: ArtifactStore) -> dict[str, dict[str, Any]]:
    """Return the records of an artifact's and its inputs' origin: each once, by its name."""
    records = [store.record(one) for one in graph(artifact)]
    made = [{name: record["made"].get(name) for name in PROVENANCE} for record in records if record]
    return {record_name(one): one for one in made}
