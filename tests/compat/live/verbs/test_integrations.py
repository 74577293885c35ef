"""What the verbs for other engines and for Prometheus do, called in this process."""

import json

import numpy as np
import pytest

from compat.live import open_store, prometheus
from tests.helpers.live_doubles import CONTENTS, ITEMS, OLD, OURS, SPACES, URL, refused

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")


def extract(manifest, vectors, rows=slice(None)):
    """What another engine does."""
    table = pq.read_table(manifest)
    found = [SPACES[CONTENTS.index(content), OLD:] for content in table["content"].to_pylist()]
    table = table.select(["id", "version", "migration"]).append_column("vector", pa.array(found))
    pq.write_table(table.take(list(range(len(table)))[rows]), vectors)


def test_a_migration_without_run(made, call):
    assert call("plan", URL, "--models", OURS, "--batch", 7, "--export", "m.parquet")[0] == 0
    extract("m.parquet", "v.parquet", slice(0, 25))
    code, out, _ = call("apply", URL, "v.parquet", "--models", OURS)
    assert code == 0
    assert "25 vectors were written, 0 came late, 0 could not be read; running; next: export what is left" in out
    assert call("export", URL, "m.parquet")[1].startswith("35 items are pending; next: apply")
    extract("m.parquet", "v.parquet")
    found = json.loads(call("apply", URL, "v.parquet", "--models", OURS, "--json")[1].splitlines()[-1])
    assert found == {"written": 35, "late": 0, "failures": 0, "phase": "complete"}
    assert call("verify", URL, "--models", OURS)[0] == 0
    for n in range(ITEMS):
        np.testing.assert_array_equal(made.get(f"i{n}").new, SPACES[n, OLD:])


def test_what_is_refused(made, call):
    refused(call("export", URL, "m.parquet"), "export: the store is in phase none")
    refused(call("apply", URL, "v.parquet", "--models", OURS), "apply: the store is in phase none")
    refused(call("plan", URL, "--models", OURS, "--export", "no/m.parquet"), "manifest:", "expected a writable file")
    assert call("plan", URL, "--models", OURS)[0] == 0
    refused(call("export", URL, "no/m.parquet"), "manifest:", "expected a writable file")
    refused(call("apply", URL, "v.parquet", "--models", OURS), "v.parquet, expected a parquet file or a folder")
    refused(call("serve-metrics", "sqlite:///none.db"), "none.db")
    refused(call("serve-metrics", URL, "--port", "x"), "--port")


def test_metrics_are_served_at_the_port(planned, call, monkeypatch):
    calls: list[tuple] = []
    monkeypatch.setattr(prometheus, "serve", lambda store, *where: calls.append((store.journal(), *where)))
    assert call("serve-metrics", URL, "--port", "9100")[0] == 0
    assert call("serve-metrics", URL, "--address", "0.0.0.0")[0] == 0
    assert calls == [(open_store(URL).journal(), 9100, "127.0.0.1"), (open_store(URL).journal(), 9464, "0.0.0.0")]
