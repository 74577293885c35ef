"""Prometheus metrics of a migration, read from the store at each scrape.

All metrics but the histograms are gauges: they describe the store and the processes working on it now, and may fall.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias, get_args

from compat.errors import InputError
from compat.live import control
from compat.live.histogram import cumulative_buckets
from compat.live.items import Phase
from compat.live.store import Store


class Figure(NamedTuple):
    """A figure of `control.status` as a Prometheus metric."""

    name: str
    key: str
    help: str


FIGURES = (
    Figure("backfill_migration", "migration", "Number of the migration."),
    Figure("backfill_migrated", "migrated", "Items with a new embedding."),
    Figure("backfill_dead_letters", "dead_letters", "Items which the new model could not read."),
    Figure("backfill_unserved_items", "unserved", "Items without any embedding."),
    Figure("backfill_progress_ratio", "progress", "Share of items migrated."),
    Figure("backfill_items_per_second", "items_per_second", "Speed of all workers together."),
    Figure("backfill_eta_seconds", "eta_seconds", "Seconds until nothing is pending; absent without a worker."),
    Figure("backfill_conflicts", "conflicts", "Late vectors of the present workers."),
    Figure("backfill_workers", "workers", "Workers with a recent heartbeat."),
    Figure("backfill_rate_limit", "rate", "Maximum items per second and worker; absent without a limit."),
    Figure("backfill_latency_target_seconds", "latency", "Query time above which workers slow down; absent if unset."),
    Figure("query_p99_seconds", "query_p99_seconds", "99th percentile of query time; absent if unreported."),
    Figure("backfill_bytes", "bytes", "Size of the store."),
)
CHECKED = {
    "misplaced": (
        "backfill_check_misplaced_items",
        "Items in none or both of the parts; expected 0.",
    ),
    "drifted": (
        "backfill_check_drifted_items",
        "Sampled items which the model does not reproduce; expected 0.",
    ),
    "sampled": ("backfill_check_sampled_items", "Items embedded again by the last check."),
    "recall": ("backfill_check_recall_ratio", "Share of the exact nearest items which a search finds."),
}
TIMED = {"query": "Duration of queries.", "batch": "Duration of batches."}
Beats: TypeAlias = Mapping[str, Mapping[str, float]]
KEPT = 3600.0  # seconds for which a check is reported
STATES = {"migrated": "migrated", "pending": "pending", "dead_letter": "dead_letters"}


class BackfillCollector:
    """Reads a store at each scrape; while the store does not answer, only `backfill_up` (0) is reported.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def describe(self) -> list[Any]:
        """Return nothing, so registration reads no store."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the metric families."""
        core = import_client().core
        try:
            status, fresh, kept = control.status(self.store), self.store.beats(control.FRESH), self.store.beats(KEPT)
        except (InputError, OSError):
            yield core.GaugeMetricFamily("backfill_up", "Whether the store answers.", value=0)
            return
        yield core.GaugeMetricFamily("backfill_up", "Whether the store answers.", value=1)
        items = core.GaugeMetricFamily("backfill_items", "Items by state.", labels=["state"])
        for state, key in STATES.items():
            items.add_metric([state], status[key])
        yield items
        phases = {phase: phase == status["phase"] for phase in get_args(Phase)}
        yield core.StateSetMetricFamily("backfill_phase", "Phase of the migration.", value=phases)
        yield from check_families(kept, core)
        yield from histogram_families(fresh, core)
        for name, key, help in FIGURES:
            if status[key] is not None:
                yield core.GaugeMetricFamily(name, help, value=status[key])


def check_families(beats: Beats, core: Any) -> Iterator[Any]:
    """Yield the results of each process's last check of invariants."""
    for key, (name, help) in CHECKED.items():
        family = core.GaugeMetricFamily(name, help, labels=["process"])
        for process, figures in beats.items():
            if key in figures:
                family.add_metric([process], figures[key])
        yield family


def histogram_families(beats: Beats, core: Any) -> Iterator[Any]:
    """Yield histograms of query and batch durations, by process."""
    for name, help in TIMED.items():
        family = core.HistogramMetricFamily(f"{name}_seconds", help, labels=["process"])
        for process, figures in beats.items():
            if found := cumulative_buckets(name, figures):
                family.add_metric([process], found[0], sum_value=found[1])
        yield family


def import_client() -> Any:
    """Import `prometheus_client`.

    Raises:
        InputError: it is not installed.
    """
    try:
        import prometheus_client
        import prometheus_client.core
    except ImportError as error:
        raise InputError(
            "prometheus_client: not installed, expected it: pip install compat-bench[prometheus]"
        ) from error
    return prometheus_client


def serve(store: Store, port: int, address: str = "127.0.0.1") -> None:
    """Answer scrapes at http://<address>:<port>/metrics until interrupted.

    Args:
        store: the store.
        port: port of the server.
        address: address to listen at; by default only this machine reaches it.

    Raises:
        InputError: no store; a port or an address which is not available.
    """
    package = import_client()
    store.journal()
    registry = package.CollectorRegistry()
    registry.register(BackfillCollector(store))
    try:
        server, thread = package.start_http_server(port, addr=address, registry=registry)
    except (OSError, OverflowError) as error:
        raise InputError(f"port: {port} at {address} ({error}), expected a free one") from error
    try:
        thread.join()
    except KeyboardInterrupt:
        pass
    finally:
        server.shutdown()
        server.server_close()
