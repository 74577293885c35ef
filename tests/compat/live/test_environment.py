"""What surrounds a SQLite store: other users' rights, files that go, full disks, readers and processes that stand."""

import os
import resource
import shutil
import sqlite3
import stat
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import compat.live.sqlite.file
from compat.errors import InputError
from compat.live import Migration, Searcher, Writer, control, open_store
from compat.live.__main__ import main
from tests.helpers.live_galleries import ITEMS, items, made, models

NOBODY = 65534


@pytest.fixture
def impatient(monkeypatch):
    """Nobody waits long for a lock."""
    monkeypatch.setattr(compat.live.sqlite.file, "BUSY", 0.05)


@contextmanager
def read_only(folder):
    """Nothing in a folder can be written, also by root, who is somebody else meanwhile."""
    paths = [*folder.iterdir(), folder]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(stat.S_IMODE(modes[path]) & ~0o222 | 0o444 | (0o111 if path.is_dir() else 0))
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path in reversed(paths):
            if path.exists():
                path.chmod(stat.S_IMODE(modes[path]))


@pytest.fixture
def folder():
    """One that other users may enter."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def refused(step) -> str:
    """Why something was refused, in one line."""
    with pytest.raises((InputError, OSError)) as found:
        step()
    assert "\n" not in str(found.value)
    return str(found.value)


def red(store: Any) -> Any:
    """A field of an item."""
    return store.get("i1").meta["red"]


def migrated(path) -> Migration:
    """Half of a migration of a store that nobody has open any more."""
    with closing(made(path)) as store:
        migration = Migration(store, models())
        migration.plan(batch=8)
        migration.run(0.5)
        return migration


@pytest.mark.parametrize("logged", [False, True], ids=["closed", "with a log"])
def test_a_store_in_a_read_only_folder_answers_or_says_so(folder, logged):
    path = folder / "gallery.db"
    migrated(path)
    holder = open_store(f"sqlite:///{path}")
    if logged:  # by a process that has it open
        Writer(holder, models()).describe("i1", {"red": True})
    with read_only(folder):
        store = open_store(f"sqlite:///{path}")
        assert store.counts().total == ITEMS
        assert Searcher(store, models()).search("query 1", 3)
        assert control.status(store)["phase"] == "running"
        assert (red(store) is True) == logged
        for step in (
            lambda: Writer(store, models()).put("i1", "item 1"),
            lambda: Writer(store, models()).delete("i1"),
            lambda: Migration(store, models()).run(),
            lambda: Migration(store, models()).rollback(),
            lambda: control.pause(store),
        ):
            assert "read-only" in refused(step)
        store.close()
    holder.close()


def test_commands_on_a_read_only_store_end_in_one_line(folder, capsys):
    path = folder / "gallery.db"
    migrated(path)
    found = {}
    with read_only(folder):
        for verb in (["status"], ["pause"], ["export", "manifest.parquet"], ["init", "--items", "none.npz"]):
            with pytest.raises(SystemExit) as ended:
                main([verb[0], f"sqlite:///{path}", *verb[1:]])
            found[verb[0]] = ended.value.code, capsys.readouterr().err
    assert found["status"] == (0, "")
    assert found["pause"][0] == 2
    assert "read-only" in found["pause"][1]
    assert all(len(err.splitlines()) <= 1 for _, err in found.values())


def test_a_log_that_nobody_moved_into_a_read_only_file_is_not_left_out(folder):
    path = folder / "gallery.db"
    store = made(path)
    Writer(store, models()).describe("i1", {"red": "seen"})
    shutil.copytree(folder, folder / "copy")  # as a snapshot has it
    (folder / "copy" / "gallery.db-shm").unlink()
    store.close()
    (folder / "copy").chmod(0o755)
    with read_only(folder / "copy"):
        copy = open_store(f"sqlite:///{folder}/copy/gallery.db")
        why = refused(lambda: copy.get("i1"))
        assert "read-only" in why
        assert "log" in why
        copy.close()


def test_a_file_that_is_taken_for_one_that_never_changes_is_seen_to_change(folder):
    """A user without rights reads; another one, with rights, writes and closes the store in between, or meanwhile."""
    path = folder / "gallery.db"
    made(path).close()

    def described(value):
        os.seteuid(0)
        folder.chmod(0o755)
        path.chmod(0o644)
        with closing(open_store(f"sqlite:///{path}")) as other:
            other.describe("i1", {"red": value})
        os.seteuid(NOBODY)

    if os.geteuid():
        pytest.skip("only root is two users")
    with read_only(folder):
        store: Any = open_store(f"sqlite:///{path}")
        assert red(store) is False
        assert store.link.immutable
        described(1)
        assert red(store) == 1

        def read():
            with store.transaction("DEFERRED"):
                described(2)

        assert "changed while it was read" in refused(read)
        assert red(store) == 2
        store.close()


def test_no_store_is_made_in_a_read_only_folder(folder):
    with read_only(folder):
        for path in (folder / "new.db", folder / "deeper" / "new.db"):
            why = refused(lambda at=path: made(at))
            assert "expected" in why
            assert "made" not in why


@pytest.mark.parametrize("gone", ["deleted", "replaced"])
def test_a_file_that_goes_under_an_open_store_is_noticed(tmp_path, gone):
    path = tmp_path / "gallery.db"
    store = made(path)
    searcher = Searcher(store, models())
    searcher.search("query 1")
    other = made(tmp_path / "other.db")
    other.close()
    if gone == "deleted":
        path.unlink()
    else:
        os.replace(tmp_path / "other.db", path)
    for step in (
        lambda: Writer(store, models()).put("i1", "item 1"),
        lambda: searcher.search("query 1"),
        lambda: store.counts(),
        lambda: Migration(store, models()),
    ):
        assert "deleted or replaced" in refused(step)
    store.close()
    if gone == "replaced":
        assert store.counts().total == ITEMS  # opened anew, on purpose


def test_a_file_that_goes_while_something_is_written_is_no_place_to_have_written_to(tmp_path):
    store: Any = made(tmp_path / "gallery.db")

    def written():
        with store.transaction() as cursor:
            cursor.execute("DELETE FROM items WHERE id = 'i1'")
            (tmp_path / "gallery.db").unlink()

    assert "deleted" in refused(written)


def test_a_disk_that_is_full_is_one_line_and_nothing_is_lost(tmp_path):
    path = tmp_path / "gallery.db"
    store = made(path)
    writer, soft = Writer(store, models()), resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(file.stat().st_size for file in tmp_path.iterdir())
    kept = {}

    def written():
        for n in range(1000):
            kept[f"n{n}"] = writer.put(f"n{n}", f"item {n % ITEMS}").version

    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, soft[1]))
    try:
        assert "gallery.db" in refused(written)
        assert Searcher(store, models()).search("query 1", ITEMS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    writer.put("last", "item 1")
    store.close()
    again: Any = open_store(f"sqlite:///{path}")
    assert all(again.get(id).version == version for id, version in kept.items())
    assert again.counts().total == ITEMS + len(kept) + 1
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    again.close()


@pytest.mark.parametrize("size", [0, 4096, 20_000])
def test_an_init_on_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, capsys, monkeypatch, size):
    monkeypatch.chdir(tmp_path)
    np.savez("items.npz", id=["a", "b"], content=["x", "y"], old=np.eye(2))
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, soft[1]))
    try:
        with pytest.raises(SystemExit) as ended:
            main(["init", "sqlite:///gallery.db", "--items", "items.npz"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: init: gallery.db: ")
    assert [path.name for path in tmp_path.iterdir()] == ["items.npz"]
    with pytest.raises(SystemExit) as ended:
        main(["init", "sqlite:///gallery.db", "--items", "items.npz"])
    assert ended.value.code == 0


@pytest.mark.parametrize(("free", "word"), [(0, "the disk is full"), (2**30, "disk I/O error")])
def test_a_store_on_a_full_disk_is_not_taken_for_another_file(tmp_path, monkeypatch, free, word):
    path = tmp_path / "gallery.db"
    made(path).close()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, soft[1]))  # no room for the index of the write-ahead log
    try:
        message = refused(open_store(f"sqlite:///{path}").counts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert word in message
    assert "`init`" not in message


def test_a_long_reader_holds_up_no_verb(tmp_path, impatient):
    path = tmp_path / "gallery.db"
    store = made(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        before = reader.execute("SELECT * FROM items ORDER BY row").fetchall()
        migration = Migration(store, models())
        migration.plan(batch=8)
        migration.run(0.5)
        Writer(store, models()).put("i1", "item 2")
        migration.rollback()
        migration.plan(batch=8)
        migration.run()
        migration.verify()
        migration.finalize()
        assert store.sweep() is False
        assert len(Searcher(store, models()).search("query 1", ITEMS)) == ITEMS
        assert reader.execute("SELECT * FROM items ORDER BY row").fetchall() == before


def test_beside_a_process_that_stands_still_in_a_transaction_queries_are_answered(tmp_path, impatient, monkeypatch):
    monkeypatch.setattr(compat.live.extraction, "wait", lambda seconds: None)
    path = tmp_path / "gallery.db"
    migration = migrated(path)
    store = migration.store
    control.throttle(store, latency=0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as stopped:
        stopped.execute("BEGIN IMMEDIATE")
        searcher = Searcher(store, models())
        assert len(searcher.search("query 1", ITEMS)) == ITEMS
        searcher.last_beat = 0.0
        assert len(searcher.search("query 2", ITEMS)) == ITEMS
        assert control.status(store)["phase"] == "running"
        for step in (
            lambda: Writer(store, models()).put("i1", "item 1"),
            lambda: store.delete("i1"),
            migration.run,
            migration.rollback,
            lambda: control.pause(store),
        ):
            why = refused(step)
            assert "locked" in why
            assert "stand still" in why
    migration.run()
    assert store.counts().new == ITEMS


def test_figures_that_a_loss_of_power_damaged_are_begun_anew(tmp_path):
    store = made(tmp_path / "gallery.db")
    for _ in range(2):
        store.beat("host:1:1", {"p99": 0.1})
        assert store.beats(10.0) == {"host:1:1": {"p99": 0.1}}
        (tmp_path / "gallery.db-beats").write_bytes(b"SQLite format 3\0" + b"\7" * 8176)
        assert control.status(store)["query_p99_seconds"] is None


def test_a_table_of_items_is_added_whole_beside_a_reader(tmp_path):
    store = made(tmp_path / "gallery.db")
    with closing(sqlite3.connect(tmp_path / "gallery.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM items").fetchone() == (ITEMS,)
        store.add(item._replace(id=f"more {item.id}") for item in items())
        assert reader.execute("SELECT count(*) FROM items").fetchone() == (ITEMS,)
    assert store.counts().total == 2 * ITEMS
