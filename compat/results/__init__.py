"""Results: what one is, the folder that keeps a benchmark's, and the layout of earlier versions. Imports no torch."""

from compat.results.folder import (
    collect,
    collect_failures,
    failures_of,
    forget,
    load_experiment,
    load_failures,
    load_keys,
    load_results,
    load_upgrades,
    without_circumstances,
)
from compat.results.queries import load_query_auc
from compat.results.result import (
    METRICS,
    PLAIN,
    Failure,
    Labels,
    Metric,
    Result,
    identity,
    row_name,
    select,
    training_seconds,
)

__all__ = [
    "METRICS",
    "PLAIN",
    "Failure",
    "Labels",
    "Metric",
    "Result",
    "collect",
    "collect_failures",
    "failures_of",
    "forget",
    "identity",
    "load_experiment",
    "load_failures",
    "load_keys",
    "load_query_auc",
    "load_results",
    "load_upgrades",
    "row_name",
    "select",
    "training_seconds",
    "without_circumstances",
]
