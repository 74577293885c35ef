"""What Prometheus is told of a store is what `status` says; no port is opened."""

import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Item, Journal, Migration, Models, Rows, Searcher, control, open_store, prometheus
from compat.live.invariants import check
from compat.live.items import Phase
from compat.live.process import this_process
from compat.live.prometheus import FIGURES, BackfillCollector, serve
from compat.live.store import change_journal

client = pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")
parser = pytest.importorskip("prometheus_client.parser")

ITEMS = 20
NAMES = [f"item {n}" for n in range(ITEMS)]
OLDS, NEWS = (np.random.default_rng(0).normal(size=(ITEMS, dim)).astype(np.float32) for dim in (3, 5))


@pytest.fixture
def migration(tmp_path):
    """Planned; the last item cannot be read."""
    store = open_store(f"sqlite:///{tmp_path / 'gallery.db'}")
    store.create(Journal(3, "cosine"))
    store.add(Item(NAMES[n], NAMES[n], {}, n + 1, OLDS[n]) for n in range(ITEMS))
    its = Migration(store, Models(Rows(NAMES[:-1], NEWS[:-1]), Rows(NAMES, OLDS)))
    its.plan(batch=4)
    yield its
    store.close()


def registry(store):
    its = client.CollectorRegistry()
    its.register(BackfillCollector(store))
    return its


def scraped(store) -> dict[str, float]:
    """Samples by name and labels, as a server reads them."""
    text = client.generate_latest(registry(store)).decode()
    families = parser.text_string_to_metric_families(text)
    return {" ".join([s.name, *s.labels.values()]): s.value for f in families for s in f.samples}


def test_figures_are_those_of_status(migration):
    store = migration.store
    migration.run(until=0.5)
    store.beat("searcher", {"p99": 0.25})
    control.throttle(store, rate=8, latency=0.5)
    found, status = scraped(store), control.status(store)
    assert found["backfill_up"] == 1
    assert {f.key for f in FIGURES if f.name in found} == {f.key for f in FIGURES}
    assert all(found[f.name] == pytest.approx(status[f.key]) for f in FIGURES)
    assert (found["query_p99_seconds"], found["backfill_rate_limit"]) == (0.25, 8)
    assert found["backfill_items pending"] == status["pending"] > 0


def test_each_item_is_in_one_state(migration):
    migration.run()
    found = scraped(migration.store)
    states = [found[f"backfill_items {state}"] for state in ("migrated", "pending", "dead_letter")]
    assert states == [ITEMS - 1, 0, 1]
    assert found["backfill_dead_letters"] == 1
    assert found["backfill_eta_seconds"] == 0
    migration.rollback()
    assert scraped(migration.store)["backfill_migrated"] == 0


@pytest.mark.parametrize("phase", get_args(Phase))
def test_one_phase_is_set(phase, migration):
    change_journal(migration.store, lambda journal: replace(journal, phase=phase))
    found = scraped(migration.store)
    phases = {name.split()[1]: value for name, value in found.items() if name.startswith("backfill_phase ")}
    assert phases == {name: float(name == phase) for name in get_args(Phase)}


def test_what_is_not_known_is_absent(migration):
    found = scraped(migration.store)
    absent = {"backfill_eta_seconds", "query_p99_seconds", "backfill_rate_limit", "backfill_latency_target_seconds"}
    assert {f.name for f in FIGURES} - set(found) == absent


def test_a_store_that_is_away_is_down_and_up_again(migration, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(type(migration.store), "counts", lambda self: (_ for _ in ()).throw(ConnectionError("gone")))
        assert scraped(migration.store) == {"backfill_up": 0}
    assert scraped(migration.store)["backfill_up"] == 1


def test_registering_reads_no_store(tmp_path):
    registry(open_store(f"sqlite:///{tmp_path / 'none.db'}"))
    assert not list(tmp_path.iterdir())


def test_queries_are_counted_by_how_long_they_took(migration):
    searcher = Searcher(migration.store, migration.models)
    for seconds in (0.0005, 0.001, 0.0011, 0.4, 1000.0):
        searcher.histogram.add(seconds)
    migration.store.beat("searcher", searcher.histogram.figures)
    found = scraped(migration.store)
    counts = {name.split()[1]: value for name, value in found.items() if name.startswith("query_seconds_bucket")}
    assert (counts["0.001"], counts["0.0025"], counts["0.25"], counts["0.5"], counts["60.0"]) == (2, 3, 3, 4, 4)
    assert (counts["+Inf"], found["query_seconds_count searcher"]) == (5, 5)
    assert found["query_seconds_sum searcher"] == pytest.approx(1000.4026)


def test_what_a_check_found_is_told(migration):
    migration.run()
    check(migration.store, migration.models, queries=3)
    found = scraped(migration.store)
    process = this_process()
    assert found[f"backfill_check_misplaced_items check {process}"] == 0
    assert found[f"backfill_check_drifted_items check {process}"] == 0
    assert found[f"backfill_check_sampled_items check {process}"] > 0
    assert found[f"backfill_check_recall_ratio check {process}"] == 1


class Server:
    """Records what is served in place of a server."""

    def __init__(self):
        self.calls = []

    def start(self, port, addr, registry):
        self.calls += [addr, port, client.generate_latest(registry).decode()]
        return self, self

    def join(self):
        raise KeyboardInterrupt

    def shutdown(self):
        self.calls.append("shut down")

    def server_close(self):
        self.calls.append("closed")


def test_it_serves_until_it_is_interrupted(migration, monkeypatch):
    server = Server()
    monkeypatch.setattr(client, "start_http_server", server.start)
    serve(migration.store, 9100)
    address, port, text, *end = server.calls
    assert (address, port) == ("127.0.0.1", 9100)
    assert f'backfill_items{{state="pending"}} {ITEMS}.0' in text
    assert "python_gc" not in text
    assert end == ["shut down", "closed"]


@pytest.mark.parametrize("error", [PermissionError("taken"), OverflowError("port must be 0-65535")])
def test_a_port_that_cannot_be_had(error, migration, monkeypatch):
    def start(port, addr, registry):
        raise error

    monkeypatch.setattr(client, "start_http_server", start)
    with pytest.raises(InputError, match=r"^port: 1 at 127.0.0.1 \(.*\), expected a free one"):
        serve(migration.store, 1)


def test_no_store_is_told_before_a_port_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "start_http_server", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(InputError, match="store"):
        serve(open_store(f"sqlite:///{tmp_path / 'none.db'}"), 9100)


def test_without_the_package(migration, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(InputError, match=r"^prometheus_client: .*pip install compat-bench\[prometheus\]"):
        prometheus.serve(migration.store, 9100)
