"""What is not migrated is written anew while it is searched: each answer is of one fit of the learner."""

import numpy as np

from compat.experience import OwnForward
from compat.live import Item, Migration, Models, Rows, Searcher
from compat.live.items import Journal
from compat.live.sqlite.store import SqliteStore
from compat.models import Precomputed

ITEMS, OLD, NEW = 120, 8, 12
NAMES = [f"i{n}" for n in range(ITEMS)]
CHANCE = np.random.default_rng(0)
BEFORE = CHANCE.standard_normal((ITEMS, OLD)).astype(np.float32)
AFTER = BEFORE @ CHANCE.standard_normal((OLD, NEW)) + 0.3 * CHANCE.standard_normal((ITEMS, NEW))


def old_part(searcher):
    return {hit.id: hit.distance for hit in searcher.search("i0", ITEMS) if hit.part == "old"}


def test_no_answer_is_of_two_fits(tmp_path, monkeypatch):
    monkeypatch.setattr("compat.live.worker.CHUNK", 16)
    store = SqliteStore(tmp_path / "gallery.db")
    store.create(Journal(OLD, "cosine"))
    store.add(Item(name, name, {}, old=old) for name, old in zip(NAMES, BEFORE, strict=True))
    learner = OwnForward(Precomputed(OLD), Precomputed(NEW))
    models = Models(Rows(NAMES, AFTER), Rows(NAMES, BEFORE), learner=learner, refit=(0.4, 0.7))
    Migration(store, models).plan(batch=8)
    searcher, filled = Searcher(store, models), []
    honest = store.fill

    def fill(column, rows, during):
        before = old_part(searcher)
        written = honest(column, rows, during)
        filled.append((store.journal(), before, old_part(searcher)))
        return written

    monkeypatch.setattr(store, "fill", fill)
    Migration(store, models).run(0.75)
    assert store.journal().bridged
    again = [(before, after) for journal, before, after in filled if journal.bridged]
    assert again
    assert all(after in (again[0][0], again[-1][1]) for _, after in again)
    assert again[0][0] != again[-1][1]
    store.close()
