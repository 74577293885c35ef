"""Each bad input that a verb of the live engine can meet: one line, code 2, nothing lost."""

import os
import sqlite3
from typing import Any

import numpy as np
import pytest

from compat.live import Searcher, open_store
from compat.live.__main__ import main
from compat.live.sqlite.store import SqliteStore
from tests.helpers.live_doubles import DOUBLES, ITEMS, OLD, OURS, SPACES, URL, columns, models, refused
from tests.helpers.live_stores import lose


def test_an_init_that_was_killed_before_its_items_is_done_again(items, call, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "add", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(["init", URL, "--items", items])
    refused(call("init", URL, "--items", items, "--fields", "lang"), "is a store already")
    assert call("init", URL, "--items", items)[0] == 0
    refused(call("init", URL, "--items", items), "is a store already")


@pytest.mark.parametrize(
    ("change", "value"), [("old", np.nan), ("old", np.inf), ("id", "i\udc80"), ("content", "a\ud800"), ("id", "i1")]
)
def test_an_init_that_is_refused_leaves_nothing(call, tmp_path, change, value):
    table: dict[str, Any] = {
        "old": SPACES[:ITEMS, :OLD].copy(),
        **{name: np.array(column) for name, column in columns().items()},
    }
    table[change] = table[change].copy()
    table[change][-1] = value
    np.savez("items.npz", **table)
    refused(call("init", URL, "--items", "items.npz"), "expected")
    assert [path.name for path in tmp_path.iterdir()] == ["items.npz"]
    np.savez("items.npz", old=SPACES[:ITEMS, : OLD - 1], **columns())
    assert call("init", URL, "--items", "items.npz")[0] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": ["i1", *columns()["id"][1:]]}, ["id: 'i1' twice"]),
        ({"id": ["", *columns()["id"][1:]]}, ["id: ''"]),
        ({"old": SPACES[:ITEMS, 0]}, ["(60, D)"]),
        ({"old": SPACES[:5, :OLD]}, ["(60, D)"]),
        ({"old": np.full((ITEMS, OLD), np.nan)}, ["NaN"]),
        ({"lang": ["en"]}, ["lang", "(60,)"]),
        ({"id": "one"}, ["items.npz", "expected a table"]),
        ({"old": SPACES[:ITEMS, :0]}, ["60 rows of 0 numbers"]),
        ({"content": np.array([None] * ITEMS)}, ["'content'", "Python objects, which are not loaded"]),
    ],
)
def test_a_table_that_is_wrong_leaves_no_items(call, change, words):
    np.savez("items.npz", **{"old": SPACES[:ITEMS, :OLD], **columns()} | change)
    refused(call("init", URL, "--items", "items.npz"), *words)
    if os.path.exists("gallery.db"):
        assert open_store(URL).counts().total == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("items.parquet", None, ["No such file", "items.parquet"]),
        ("items.parquet", b"no table", ["items.parquet", "expected a table"]),
        ("items.npz", b"no table", ["items.npz", "expected a table"]),
        ("items.npz", b"PK\x03\x04 cut short", ["items.npz", "expected a table"]),
        ("items.csv", b"id,name\n1,2\n", ["content"]),
        ("items.csv", b"id,content\n1,2\n", ["No such file", "items.npy"]),
        ("items.csv", b"id,content,lang\n1,2\n", ["record 1", "3"]),
        ("items.txt", b"", [".parquet, .npz or .csv"]),
    ],
)
def test_a_file_that_is_no_table_is_told_in_one_line(call, name, content, words):
    if content is not None:
        with open(name, "wb") as file:
            file.write(content)
    refused(call("init", URL, "--items", name), *words)
    assert not os.path.exists("gallery.db")


def test_a_field_that_the_table_lacks_is_refused(items, call):
    refused(call("init", URL, "--items", items, "--fields", "lang,colour"), "'colour'", "lang, year")


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (["migrate", URL], ["migrate", "invalid choice"]),
        (["run"], ["store", "required"]),
        (["run", URL], ["--models"]),
        (["run", "redis://here", "--models", OURS], ["redis://...", "sqlite:///path"]),
        (["run", URL, "--models", OURS], ["phase none", "planned"]),
        (["plan", URL, "--models", "nowhere.models"], ["nowhere"]),
        (["plan", URL, "--models", f"{DOUBLES}.nothing"], ["nothing"]),
        (["plan", URL, "--models", f"{DOUBLES}.ITEMS"], ["no function"]),
        (["plan", URL, "--models", f"{DOUBLES}.something_else"], ["returns a int"]),
        (
            ["plan", URL, "--models", f"{DOUBLES}.without_weights"],
            ["RuntimeError: no weights at", "doubles.py, line"],
        ),
        (["plan", URL, "--models", OURS, "--batch", "0"], ["batch: 0"]),
        (["plan", URL, "--models", OURS, "--batch", "9" * 20], ["batch: 9", "expected 1 to 2147483647"]),
        (["plan", URL, "--models", OURS, "--seed", "-1"], ["seed: -1"]),
        (["plan", URL, "--models", OURS, "--export", "nowhere/m.parquet"], ["manifest: 'nowhere/m.parquet'"]),
        (["plan", URL, "--models", OURS, "--export", "."], ["manifest: '.'"]),
        (["plan", URL, "--models", OURS, "--export", ""], ["manifest: ''"]),
        (["query", URL, "c61", "--models", OURS, "--where", "lang=\udcff"], ["'lang=\\udcff' is not UTF-8"]),
        (["pause", URL, "--note", "\udcff"], ["'\\udcff' is not UTF-8"]),
        (["plan", URL, "--models", OURS, "--order", "Newest"], ["Newest", "Density"]),
        (["plan", URL, "--models", OURS, "--order", "Order"], ["order: Order"]),
        (["plan", URL, "--models", OURS, "--order", "Clusters", "clusters=600"], ["600", "60 items"]),
        (["plan", URL, "--models", OURS, "--order", "Clusters", "groups=6"], ["groups"]),
        (["plan", URL, "--models", OURS, "--order", "Clusters", "clusters"], ["NAME=VALUE"]),
        (
            ["plan", URL, "--models", OURS, "--order", "Clusters", "clusters=6.5"],
            ["order: Clusters clusters=6.5", "int"],
        ),
        (
            ["plan", URL, "--models", OURS, "--order", "Clusters", "clusters=few"],
            ["order: Clusters clusters=few", "int"],
        ),
        (
            ["plan", URL, "--models", OURS, "--order", "Clusters", "clusters=010"],
            ["order: clusters: 010 is read in sev"],
        ),
        (["plan", URL, "--models", OURS, "--order", "Clusters", "clusters=1:30"], ["order: clusters: 1:30 is read in"]),
        (["plan", URL, "--models", OURS, "--order", "Entropy"], ["order: Entropy", "no classifier"]),
        (["init", "sqlite:///", "--items", "items.npz"], ["store: . (unable to open"]),
        (["plan", URL, "--models", OURS, "--order", "Oracle"], ["all matrices and labels"]),
        (["plan", URL, "--models", f"{DOUBLES}.without_old", "--dual"], ["models.old"]),
        (["pause", URL], ["phase none"]),
        (["resume", URL], ["phase none"]),
        (["throttle", URL, "--rate", "-1"], ["rate: -1"]),
        (["throttle", URL, "--latency", "nan"], ["latency: nan"]),
        (["status", URL, "--watch", "-2"], ["watch: -2"]),
        (["verify", URL, "--models", OURS], ["phase none"]),
        (["rollback", URL, "--models", OURS], ["phase none"]),
        (["rollback", URL, "--models", OURS, "--dry-run"], ["phase none"]),
        (["finalize", URL, "--models", OURS, "--yes"], ["phase none"]),
        (["query", URL, "c61", "--models", OURS, "-k", "0"], ["k: 0"]),
        (["query", URL, "c61", "--models", OURS, "--where", "colour=red"], ["'colour'", "lang, year"]),
        (["query", URL, "c61", "--models", OURS, "--where", "lang"], ["NAME=VALUE"]),
        (["query", URL, "c61", "--models", OURS, "--where", "lang=en", "--where", "lang=de"], ["twice"]),
    ],
)
def test_each_wrong_command_is_one_line_and_changes_nothing(made, call, verb, words):
    before = made.journal(), made.counts()
    result = call(*verb)
    refused(result, *words)
    assert not result[1]
    assert (made.journal(), made.counts()) == before


def test_a_folder_is_no_store(items, call):
    os.mkdir("gallery.db")
    refused(call("init", URL, "--items", items), "gallery.db", "unable to open database file")


@pytest.mark.parametrize("verb", [["status"], ["run", "--models", OURS], ["query", "c61", "--models", OURS], ["pause"]])
@pytest.mark.parametrize("content", [None, b"", b"a picture, not a store" * 50, "another database"])
def test_a_file_that_is_no_store_stays_as_it_is(call, verb, content):
    if content == "another database":
        base = sqlite3.connect("gallery.db")
        base.execute("CREATE TABLE cats (name TEXT)")
        base.commit()
        base.close()
    elif content is not None:
        with open("gallery.db", "wb") as file:
            file.write(content)
    refused(call(verb[0], URL, *verb[1:]), "gallery.db", "made by `init`")
    if isinstance(content, bytes) and content:
        with open("gallery.db", "rb") as file:
            assert file.read() == content


def test_two_migrations_at_once_are_refused(planned, call):
    before = planned.journal()
    refused(call("plan", URL, "--models", OURS), "migration 1 is planned")
    assert planned.journal() == before


def test_a_migration_does_not_go_on_under_other_models(planned, call):
    call("run", URL, "--models", OURS, "--until", 0.5)
    before = planned.counts()
    for verb in ("run", "verify", "rollback", "query"):
        content = ["c61"] if verb == "query" else []
        refused(call(verb, URL, *content, "--models", f"{DOUBLES}.others"), "models.new: another")
    refused(call("run", URL, "--models", f"{DOUBLES}.drifted"), "not reproduced")
    assert planned.counts() == before


def test_a_journal_that_was_tampered_with_is_refused(planned, call):
    base = sqlite3.connect("gallery.db")
    base.execute("UPDATE journal SET content = replace(content, '\"planned\"', '\"verified\"')")
    base.commit()
    base.close()
    for verb in (["status"], ["run", "--models", OURS], ["finalize", "--models", OURS, "--yes"]):
        refused(call(verb[0], URL, *verb[1:]), "digest")
    code, out, _ = call("doctor", URL)
    assert code == 1
    assert "error" in out
    assert "digest" in out


def test_a_disk_that_is_full_ends_the_run_and_loses_nothing(planned, call, monkeypatch):
    whole = SqliteStore.exchange
    batches: list[int] = []

    def full(store, report, count, lease, below=None):
        if report.done and len(batches) == 2:
            raise OSError("gallery.db: database or disk is full")
        batches.extend([1] if report.done else [])
        return whole(store, report, count, lease, below)

    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "exchange", full)
        refused(call("run", URL, "--models", OURS), "disk is full", "run continues from there")
    assert planned.counts().new == 14
    assert len(Searcher(planned, models()).search("c61", k=ITEMS)) == ITEMS
    assert call("run", URL, "--models", OURS)[0] == 0
    assert planned.counts().new == ITEMS


def test_a_disk_that_is_full_at_once_is_one_line(items, call, monkeypatch):
    monkeypatch.setattr(SqliteStore, "create", lambda *_: (_ for _ in ()).throw(OSError("disk is full")))
    refused(call("init", URL, "--items", items), "disk is full")


def test_what_was_written_since_it_was_verified_blocks_the_end(planned, call):
    call("run", URL, "--models", OURS)
    call("verify", URL, "--models", OURS)
    lose(planned.path, "i4", 1)
    refused(call("finalize", URL, "--models", OURS, "--yes"), "1 pending")
    assert planned.get("i4").old is not None


def test_sql_in_a_value_is_a_value(made, call):
    code, out, _ = call("query", URL, "c61", "--models", OURS, "--where", "lang=en' OR 1=1 --")
    assert (code, out) == (0, "")
    assert made.counts().total == ITEMS


def test_rows_of_other_lengths_are_refused_and_leave_no_items(call):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for number, last in enumerate(([1.0], None, [1.0, None])):
        table = pa.table({"id": ["a", "b"], "content": ["c1", "c2"], "old": [[1.0, 2.0], last]})
        parquet.write_table(table, "items.parquet")
        refused(call("init", f"sqlite:///{number}.db", "--items", "items.parquet"), "old")
        if os.path.exists(f"{number}.db"):
            assert open_store(f"sqlite:///{number}.db").counts().total == 0


def test_numbers_that_no_store_holds_are_texts(made, call):
    for given in ("9" * 40, "1e999", "[1]", "-Infinity"):
        assert call("query", URL, "c61", "--models", OURS, "--where", f"year={given}") == (0, "", "")
