"""A SQLite store in processes that are forked from one that has it open, or that begin anew."""

import subprocess
import sys

import pytest

SCRIPT = """
import multiprocessing, sqlite3, sys
from contextlib import closing
from pathlib import Path

from compat.live import Searcher, Writer, open_store
from tests.live_galleries import ITEMS, items, made, models

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
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
