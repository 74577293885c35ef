"""A SQLite store in processes that are forked from one that has it open, or that begin anew."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from compat.live.sqlite.store import SqliteStore
from tests import ROOT
from tests.helpers.live_stores import create, item

SCRIPT = """
import multiprocessing, sqlite3, sys
from contextlib import closing
from pathlib import Path

from compat.live import Searcher, Writer, open_store
from tests.helpers.live_galleries import ITEMS, items, made, models

CHILDREN, EACH = 3, 4
METHOD, PATH = sys.argv[1], Path(sys.argv[2])


def used(number, store):
    store = store or open_store(f"sqlite:///{PATH}")
    writer, searcher = Writer(store, models()), Searcher(store, models())
    for n in range(EACH):
        writer.put(f"{number} {n}", f"item {n}")
        hits = searcher.search("query 1", 10**6)
        assert f"{number} {n}" in {hit.id for hit in hits}
        assert len({hit.id for hit in hits}) == len(hits) > ITEMS


if __name__ == "__main__":
    store = made(PATH)
    parent = Searcher(store, models())
    parent.search("query 1", 3)
    context = multiprocessing.get_context(METHOD)
    inherited = store if METHOD == "fork" else None
    children = [context.Process(target=used, args=(number, inherited)) for number in range(CHILDREN)]
    for child in children:
        child.start()
    used(CHILDREN, store)
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * CHILDREN
    expected = {f"{number} {n}" for number in range(CHILDREN + 1) for n in range(EACH)} | {i.id for i in items()}
    hits = parent.search("query 1", 10**6)
    assert {hit.id for hit in hits} == expected
    assert len(hits) == len(expected) == store.counts().total
    store.close()
    with closing(sqlite3.connect(PATH)) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
"""


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_what_processes_have_acknowledged_is_there_whoever_began_them(tmp_path, method):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", str(tmp_path / "script.py"), method, str(tmp_path / "gallery.db")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("first", ["parent", "child"])
def test_what_a_forked_child_acknowledged_stays_whoever_closes_first(first, tmp_path):
    path = tmp_path / "gallery.db"
    store = create(SqliteStore(path))
    store.add([item(0)])
    here, there = multiprocessing.get_context("fork").Pipe()

    def child() -> None:
        for n in range(1, 20):
            store.put(item(n), store.journal())
        there.send("written")
        there.recv()
        store.put(item(20), store.journal())
        store.close()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert here.recv() == "written"
    if first == "parent":
        store.close()
    here.send("go on")
    process.join()
    store.close()
    assert process.exitcode == 0
    assert SqliteStore(path).counts().total == 21


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_items_may_come_from_processes_that_are_forked_meanwhile(tmp_path):
    store = create(SqliteStore(tmp_path / "gallery.db"))

    def items():
        for n in range(3000):
            if n % 1000 == 7:
                process = multiprocessing.get_context("fork").Process(target=int)
                process.start()
                process.join()
            yield item(n)

    assert store.add(items()) == 3000
    assert store.counts().total == 3000
