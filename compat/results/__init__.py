"""Results, and the folder of a benchmark's results. Imports no torch."""

from compat.results.experiment import load_experiment, record_name
from compat.results.folder import (
    CollectError,
    collect,
    collect_failures,
    forget,
    load_failures,
    load_keys,
    load_results,
    load_upgrades,
)
from compat.results.queries import load_query_auc
from compat.results.result import (
    PLAIN,
    Failure,
    Labels,
    Metric,
    Result,
    identity,
    metrics_of,
    ordinal,
    row_name,
)

__all__ = [
    "PLAIN",
    "CollectError",
    "Failure",
    "Labels",
    "Metric",
    "Result",
    "collect",
    "collect_failures",
    "forget",
    "identity",
    "load_experiment",
    "load_failures",
    "load_keys",
    "load_query_auc",
    "load_results",
    "load_upgrades",
    "metrics_of",
    "ordinal",
    "record_name",
    "row_name",
]
