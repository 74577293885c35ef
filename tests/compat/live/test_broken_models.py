"""A model that breaks, and items that are at fault: one is paused for, the others fail."""

from contextlib import nullcontext

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Journal, Migration, Rows, Writer
from compat.live.extraction import Unreachable
from tests.helpers.live_galleries import ITEMS, OLD, Failing, items, made, matrices, models


@pytest.fixture
def store(tmp_path):
    store = made(tmp_path / "gallery.db")
    yield store
    store.close()


class Breaks(Failing):
    """The new model; once it is broken it fails on all that it is asked, in one of several ways."""

    def __init__(self, how) -> None:
        super().__init__()
        self.how, self.broken = how, False

    def __call__(self, contents):
        rows = super().__call__(contents)
        if not self.broken:
            return rows
        if isinstance(self.how, Exception):
            raise self.how
        return self.how(rows)


HOW = {
    "NaN": lambda rows: np.full_like(rows, np.nan),
    "infinite": lambda rows: rows / 0.0,
    "exception": RuntimeError("CUDA error: device-side assert"),
    "no memory": MemoryError(),
    "as requests": OSError("HTTPConnectionPool"),
    "too few rows": lambda rows: rows[:0],
    "one row": lambda rows: rows.mean(0),
    "short rows": lambda rows: rows[:, 1:],
    "nothing": lambda rows: None,
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("batch", [1, 3, 8, 32])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("how", HOW)
def test_a_model_that_breaks_makes_no_failed_items(store, how, batch, after):
    new = Breaks(HOW[how])
    migration = Migration(store, models(new=new))
    migration.plan(batch=batch)
    new.broken = not after
    journal = migration.run(on_batch=lambda *_: setattr(new, "broken", True))
    migrated = batch if after else 0
    assert journal.phase == "paused"
    assert journal.note.startswith(f"models.new: it failed on all {min(batch, ITEMS - migrated)} items of a batch (")
    assert store.counts() == (ITEMS, migrated, ITEMS - migrated, 0, 0)
    new.broken = False
    assert migration.run().phase == "complete"
    assert store.counts() == (ITEMS, ITEMS, 0, 0, 0)


def test_a_model_that_breaks_within_a_batch_makes_no_failed_items(store):
    class Ends(Breaks):
        """It reads a few items more, then nothing."""

        left = 20

        def __call__(self, contents):
            if self.broken and len(contents) > 1:
                raise MemoryError
            self.left -= self.broken
            if self.left < 0:
                raise RuntimeError("CUDA error")
            return super().__call__(contents)

    new = Ends(lambda rows: rows)
    migration = Migration(store, models(new=new))
    migration.plan(batch=32)
    new.broken = True
    assert migration.run().phase == "paused"
    assert store.counts().failed == 0


def order_of(store):
    return [item.content for item in store.pending(ITEMS)]


@pytest.mark.parametrize("batch", [1, 4, 8, 40])
def test_a_few_that_cannot_be_read_do_not_stop_it(store, batch):
    new = Failing()
    migration = Migration(store, models(new=new))
    migration.plan(batch=batch)
    new.bad = set(order_of(store)[::5])
    assert migration.run().phase == "complete"
    assert store.counts().failed == len(new.bad) == 8


@pytest.mark.parametrize("batch", [1, 4, 8])
@pytest.mark.parametrize("first", [0, 20, 32])
def test_a_folder_that_is_gone_does_not_stop_it(store, batch, first):
    new = Failing()
    migration = Migration(store, models(new=new))
    migration.plan(batch=batch)
    new.bad = set(order_of(store)[first : first + 8])
    assert migration.run().phase == "complete"
    assert store.counts().failed == 8


@pytest.mark.parametrize("batch", [4, 8, 40])
def test_a_model_that_reads_few_of_all_is_broken(store, batch):
    new = Failing()
    migration = Migration(store, models(new=new))
    migration.plan(batch=batch)
    new.bad = set(order_of(store)) - set(order_of(store)[::8])
    journal = migration.run()
    assert journal.phase == "paused"
    assert "OSError: image file is truncated" in journal.note
    assert "pending ones), expected a model which reads them" in journal.note
    assert store.counts().failed == 0
    new.bad = set()
    assert migration.run().phase == "complete"


def drifting(ids, by=0.5):
    """The new model, which embeds the contents of these items otherwise, and its version."""
    contents, _, new = matrices()
    rows = new.copy()
    rows[[int(id[1:]) for id in ids]] += np.float32(by)
    changed = Rows(contents, rows)
    changed.version = models().new.version
    return changed


@pytest.mark.parametrize(("changed", "refused"), [(0, False), (3, False), (4, False), (5, True), (8, True)])
def test_canaries_refuse_when_most_of_those_that_can_be_read_differ(store, changed, refused, monkeypatch):
    Migration(store, models()).plan(batch=8)
    Migration(store, models()).run(10 / ITEMS)
    drawn = [item for item in (store.get(f"i{n}") for n in range(ITEMS)) if item.new is not None]
    ids = [item.id for item in drawn]
    monkeypatch.setattr(type(store), "sample", lambda self, count: drawn[:count])
    run = Migration(store, models(new=drifting(ids[:changed]))).run
    named = f"of 8 items, {', '.join(map(repr, ids[:changed]))} are not reproduced"
    if refused:
        with pytest.raises(InputError, match=rf"^models.new: item '{ids[0]}' is not reproduced, like {changed} of 8"):
            run()
    else:
        with pytest.warns(UserWarning, match=named) if changed else nullcontext():
            assert run().phase == "complete"


def test_those_that_cannot_be_read_do_not_count_as_changed(store, monkeypatch):
    Migration(store, models()).plan(batch=8)
    Migration(store, models()).run(10 / ITEMS)
    drawn = [item for item in (store.get(f"i{n}") for n in range(ITEMS)) if item.new is not None][:8]
    monkeypatch.setattr(type(store), "sample", lambda self, count: drawn[:count])
    new = Failing(*(item.content for item in drawn[:7]))
    with pytest.warns(UserWarning, match=rf"of 8 items, it cannot read '{drawn[0].id}' \(OSError: image file is trun"):
        assert Migration(store, models(new=new)).run().phase == "complete"


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.filterwarnings("ignore:models.")
def test_no_verb_refuses_a_store_for_some_sources_that_are_gone(store, share):
    gone = [item.content for item in items()[:: int(1 / share)]]
    its = models(new=Failing(*gone), old=OldFailing(*gone))
    for seed in range(12):
        migration = Migration(store, its)
        migration.plan(seed=seed)
        migration.run(0.5)
        migration.run(0.6)
        assert migration.rollback().phase == "rolled_back"


class OldFailing(Failing):
    def __init__(self, *bad: str) -> None:
        super().__init__(*bad)
        contents, old, _ = matrices()
        Rows.__init__(self, contents, old)


def test_a_write_by_a_model_that_is_away_or_returns_something_else_is_one_line(store, monkeypatch):
    monkeypatch.setattr("compat.live.extraction.wait", lambda seconds: None)

    class Odd(OldFailing):
        how = staticmethod(lambda rows: rows[:, 1:])

        def __call__(self, contents):
            return self.how(super().__call__(contents))

    odd = Odd()
    writer = Writer(store, models(old=odd))
    with pytest.raises(InputError, match=r"^models.old: shape \(1, 4\), expected \(1, 5\)$"):
        writer.put("x", "item 1")
    odd.how = lambda rows: {"embedding": rows}
    with pytest.raises(InputError, match=r"^models.old: it returned a dict, expected embeddings"):
        writer.put("x", "item 1")

    def away(rows):
        raise type("ConnectError", (Exception,), {"__module__": "httpx"})("no route")

    odd.how = away
    with pytest.raises(Unreachable, match=r"^models.old: ConnectError: no route, expected a model which answers$"):
        writer.put("x", "item 1")
    assert store.get("x") is None


def test_every_store_pauses_for_a_model_that_breaks_and_goes_on_past_a_folder_that_is_gone(opened):
    store, new = opened(), Breaks(HOW["NaN"])
    store.create(Journal(OLD, "cosine", ("red", "size")))
    store.add(items())
    migration = Migration(store, models(new=new))
    migration.plan(batch=8)
    gone = order_of(store)[16:24]
    journal = migration.run(on_batch=lambda *_: setattr(new, "broken", True))
    assert (journal.phase, store.counts()[1:4]) == ("paused", (8, ITEMS - 8, 0))
    new.broken, new.bad = False, set(gone)
    assert migration.run().phase == "complete"
    assert store.counts()[1:4] == (ITEMS - 8, 0, 8)
    assert sorted(item.content for item in store.failures(ITEMS)) == sorted(gone)
