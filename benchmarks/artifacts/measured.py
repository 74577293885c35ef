"""Metrics of a curve from their configs, and the curve as an artifact."""

from __future__ import annotations

from benchmarks.artifacts.kinds import Metrics
from compat.curve_metrics import ALWAYS, CURVE_METRICS, CurveMetric

FIGURE = "figures."  # before the name of a metric, among an artifact's tensors


def build_metrics(metrics: Metrics) -> dict[str, CurveMetric]:
    """Build the standard metrics, and further ones from a config."""
    further = {name: CURVE_METRICS[name] if spec is None else spec.build(CurveMetric) for name, spec in metrics}
    return {name: CURVE_METRICS[name] for name in ALWAYS} | further
