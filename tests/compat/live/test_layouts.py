"""Files of the first layout, which had all vectors in the table of items, and of a later one than today's."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Migration, Models, Rows, Searcher, Writer
from compat.live.items import Counts, Journal
from compat.live.sqlite.store import SqliteStore

FIRST = """
CREATE TABLE items (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, content TEXT NOT NULL,
    meta TEXT NOT NULL, version INTEGER NOT NULL, place INTEGER NOT NULL DEFAULT -1, failure TEXT,
    old BLOB, bridge BLOB, new BLOB);
CREATE INDEX pending ON items (place, row) WHERE new IS NULL AND failure IS NULL;
CREATE INDEX migrated ON items (row) WHERE new IS NOT NULL;
CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, row INTEGER NOT NULL);
CREATE TABLE facets (field TEXT NOT NULL, value NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (field, value, row))
    WITHOUT ROWID;
CREATE TRIGGER inserted AFTER INSERT ON items BEGIN INSERT INTO changes (row) VALUES (new.row); END;
CREATE TRIGGER deleted AFTER DELETE ON items BEGIN INSERT INTO changes (row) VALUES (old.row); END;
CREATE TABLE journal (one INTEGER PRIMARY KEY CHECK (one = 1), content TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE claims (row INTEGER PRIMARY KEY, worker TEXT NOT NULL, until REAL NOT NULL);
CREATE TABLE beats (name TEXT PRIMARY KEY, at REAL NOT NULL, figures TEXT NOT NULL);
"""
NAMES = [f"i{n}" for n in range(9)]
OLD, NEW = (np.random.default_rng(0).normal(size=(9, dim)).astype(np.float32) for dim in (3, 4))
MODELS = Models(Rows(NAMES, NEW), Rows(NAMES, OLD))
ADDED = {"store", "generation", "doubt"}  # to the journal, since


def first(path, phase, migrated=0, failed=()):
    """A store as the first layout had it, 8 items planned from the last to the first, of which some are migrated."""
    begun = (1, phase, 8, 4, MODELS.fingerprint, "Random 0", 3)
    its = Journal(3, "cosine", ("lang",), *(() if phase == "none" else begun))
    content = json.dumps({k: v for k, v in its.record().items() if k not in ADDED}, sort_keys=True)
    with closing(sqlite3.connect(path)) as base:
        base.executescript(FIRST)
        base.execute("INSERT INTO journal VALUES (1, ?, ?)", (content, sha256(content.encode()).hexdigest()))
        for n in range(8):
            place = -1 if phase == "none" else 7 - n
            new = NEW[n].tobytes() if n >= 8 - migrated else None
            old = None if phase == "finalized" else OLD[n].tobytes()
            why = "unreadable" if n in failed else None
            line = (f"i{n}", f"i{n}", json.dumps({"lang": "de" if n % 2 else "en"}), n + 1, place, why, old, new)
            base.execute(
                "INSERT INTO items (id, content, meta, version, place, failure, old, new)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                line,
            )
        base.execute("INSERT INTO facets SELECT 'lang', json_extract(meta, '$.lang'), row FROM items")
        base.execute("DELETE FROM items WHERE id = 'i7'")  # no later item gets its row number
        base.commit()
    return SqliteStore(path)


@pytest.mark.parametrize(
    ("phase", "migrated", "counts"),
    [
        ("none", 0, Counts(7, 0, 7, 0, 0)),
        ("planned", 0, Counts(7, 0, 7, 0, 0)),
        ("running", 4, Counts(7, 3, 3, 1, 0)),
        ("rolled_back", 0, Counts(7, 0, 7, 0, 0)),
        ("complete", 8, Counts(7, 7, 0, 0, 0)),
        ("finalized", 8, Counts(7, 7, 0, 0, 0)),
    ],
)
def test_a_store_of_the_first_layout_goes_on_in_the_phase_it_was_in(phase, migrated, counts, tmp_path):
    store = first(tmp_path / "gallery.db", phase, migrated, {2} if phase == "running" else ())
    journal = store.journal()
    assert (journal.phase, store.counts()) == (phase, counts)
    assert journal.store
    if phase not in ("none", "rolled_back", "finalized"):
        assert store.gallery().place.tolist() == [7, 6, 5, 4, 3, 2, 1]
    again = SqliteStore(tmp_path / "gallery.db")
    assert again.journal() == journal
    hits = Searcher(store, MODELS).search("i8", 9, {"lang": "en"})
    assert sorted(hit.id for hit in hits) == ["i0", "i2", "i4", "i6"]
    Writer(store, MODELS).put("i8", "i8")
    with store.transaction("DEFERRED") as cursor:
        assert cursor.execute("SELECT row FROM items WHERE id = 'i8'").fetchone() == (9,)
    if phase != "finalized":
        migration = Migration(store, MODELS)
        if phase in ("none", "rolled_back"):
            migration.plan()
        store.retry()
        migration.run()
        migration.verify()
        migration.finalize()
    assert store.counts() == Counts(8, 8, 0, 0, 0)
    assert np.array_equal(store.get("i3").new, NEW[3])


def test_a_store_of_a_later_layout_is_refused(tmp_path):
    path = tmp_path / "gallery.db"
    SqliteStore(path).create(Journal(3, "l2"))
    with closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA user_version = 7")
    with pytest.raises(InputError, match=r"^store: .*gallery.db has tables of version 7, expected 2 or less"):
        SqliteStore(path).journal()


def test_another_store_in_the_place_of_the_one_that_was_opened_is_refused(tmp_path):
    path, other = tmp_path / "gallery.db", tmp_path / "other.db"
    store = SqliteStore(path)
    for one in (store, SqliteStore(other)):
        one.create(Journal(3, "l2"))
        one.close()
    assert store.counts().total == 0
    other.replace(path)
    with pytest.raises(InputError, match=r"^store: .*gallery.db was deleted or replaced, expected the opened file"):
        store.counts()
    with closing(sqlite3.connect(path)) as base:
        record = json.loads(base.execute("SELECT content FROM journal").fetchone()[0])
    store.close()
    assert store.journal().store == record["store"]
    with store.transaction() as cursor:  # a backup of another store, written into the open file
        content, digest = replace(store.journal(), store="another").dump()
        cursor.execute("UPDATE journal SET content = ?, digest = ?", (content, digest))
    with pytest.raises(InputError, match=r"^store: .*gallery.db has id 'another', expected '\w+', which was opened"):
        store.counts()


def test_a_file_that_is_gone_is_one_line(tmp_path):
    store = SqliteStore(tmp_path / "gallery.db")
    store.create(Journal(3, "l2"))
    assert store.counts().total == 0
    (tmp_path / "gallery.db").unlink()
    with pytest.raises(InputError, match=r"^store: .*gallery.db was deleted or replaced"):
        store.counts()


def test_every_change_of_the_journal_is_in_the_history(tmp_path):
    store = first(tmp_path / "gallery.db", "none")
    migration = Migration(store, MODELS)
    migration.plan()
    migration.run()
    migration.rollback()
    changes = [entry.changes for entry in store.history(99)][::-1]
    phases = [change["phase"] for change in changes if "phase" in change]
    assert phases[0][0] == "none"
    assert all(a[1] == b[0] for a, b in pairwise(phases))
    assert [after for _, after in phases] == ["planned", "running", "complete", "rolling_back", "rolled_back"]
    assert changes[0]["fingerprint"] == [{}, dict(MODELS.fingerprint)]
    assert len(store.history(2)) == 2
    assert store.history(1)[0].who.count("@") == 1
