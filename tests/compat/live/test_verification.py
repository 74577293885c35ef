"""What `verify` says, and how long it is remembered."""

import json
from dataclasses import replace

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Migration, Writer
from compat.live.__main__ import main
from compat.live.items import Counts
from compat.live.store import change_journal
from compat.live.verification import Verification
from tests.compat.live.test_broken_models import drifting
from tests.helpers.live_galleries import ITEMS, Failing, items, made, models


@pytest.fixture
def store(tmp_path):
    store = made(tmp_path / "gallery.db")
    Migration(store, models()).plan()
    Migration(store, models()).run()
    yield store
    store.close()


def spoilt(store, *ids):
    """Vectors that are not their items', as an engine that mixed up its rows left them."""
    rows = [(item.id, item.version, -item.new) for id in ids if (item := store.get(id)) is not None]
    assert store.fill("new", rows, store.journal()) == len(ids)


def whole(total, sampled, unread=0, **more):
    return Verification(Counts(total, total, 0, 0, 0), [], sampled, {f"i{n}": "gone" for n in range(unread)}, **more)


def test_the_bound_is_three_in_n_unless_all_were_compared():
    assert whole(10**6, 300).bound == 0.01
    assert whole(10**6, 3000).bound == 0.001
    assert whole(10**6, 300, unread=150).bound == 0.02
    assert whole(10**6, 2).bound == whole(10**6, 0).bound == 1
    assert whole(300, 300).bound == 0
    assert whole(300, 300, unread=1).bound > 0
    chance = np.random.default_rng(0)
    for share in (0.011, 0.05):
        missed = np.mean(chance.random((4000, 300)).min(1) > share)
        assert missed < 0.05


def test_the_default_is_300(store):
    assert Migration(store, models()).verify() == ((ITEMS,) * 2 + (0, 0, 0), [], ITEMS, {}, 0)
    assert store.journal().phase == "verified"


def test_what_is_wrong_is_named_and_remembered_until_a_larger_sample_is_sound(store, monkeypatch):
    spoilt(store, "i3")
    migration = Migration(store, models())
    chosen: list[str] = []
    plain = type(store).sample
    monkeypatch.setattr(type(store), "sample", lambda self, count: [self.get(id) for id in chosen])
    chosen[:] = [f"i{n}" for n in range(5)]
    found = migration.verify(5)
    assert (found.drifted, found.failed_sample, found.sound) == (["i3"], 5, False)
    assert (store.journal().phase, store.journal().failed_sample) == ("complete", 5)
    chosen[:] = [f"i{n}" for n in range(10, 15)]
    for _ in range(3):  # a lucky draw of the same size
        found = migration.verify(5)
        assert (found.drifted, found.failed_sample, found.sound) == ([], 5, False)
    with pytest.raises(InputError, match=r"^finalize: the store is in phase complete, .* a sample of more than 5, "):
        migration.finalize()
    chosen[:] = [f"i{n}" for n in range(3)]
    assert migration.verify(3).failed_sample == 5
    monkeypatch.setattr(type(store), "sample", plain)
    assert migration.verify(ITEMS).drifted == ["i3"]
    assert store.journal().failed_sample == ITEMS
    Writer(store, models()).put("i3", "item 3", {})
    assert migration.verify(ITEMS).sound  # all there are, so no larger one could be
    assert (store.journal().phase, store.journal().failed_sample) == ("verified", 0)
    assert migration.finalize().phase == "finalized"


def test_a_larger_sample_that_is_sound_ends_the_doubt(store):
    migration = Migration(store, models())
    change_journal(store, lambda journal: replace(journal, failed_sample=5))
    assert not migration.verify(5).sound
    assert migration.verify(6).sound
    change_journal(store, lambda journal: replace(journal, failed_sample=7))  # of another who looked at the same time
    with pytest.raises(InputError, match=r"finalize: .* a sample of more than 7"):
        migration.finalize()


def test_the_next_migration_begins_without_doubt(store):
    spoilt(store, *[f"i{n}" for n in range(ITEMS)])
    migration = Migration(store, models())
    assert migration.verify(8).failed_sample == 8
    migration.rollback()
    assert migration.plan().failed_sample == 0
    migration.run()
    assert migration.verify(8).sound


def test_what_cannot_be_read_any_more_is_not_wrong_unless_it_is_most(store):
    gone = [item.content for item in items()[::4]]
    migration = Migration(store, models(new=Failing(*gone)))
    found = migration.verify()
    assert (found.drifted, sorted(found.unread), found.compared) == ([], sorted(f"i{n}" for n in range(0, 40, 4)), 30)
    assert found.sound
    assert found.bound == 0.1
    change_journal(store, lambda journal: replace(journal, failed_sample=ITEMS))
    found = Migration(store, models(new=Failing(*(item.content for item in items()[:30])))).verify()
    assert (found.drifted, found.sound, found.failed_sample) == ([], False, ITEMS)
    with pytest.raises(InputError, match="finalize: the store is in phase complete"):
        migration.finalize()


def test_a_migration_that_was_planned_meanwhile_is_not_verified(store):
    class Meanwhile(Failing):
        def __call__(self, contents):
            if not done:
                done.append(1)
                Migration(store, models()).rollback()
                Migration(store, models()).plan()
                Migration(store, models()).run()
            return super().__call__(contents)

    done: list[int] = []
    Migration(store, models(new=Meanwhile())).verify()
    assert (store.journal().migration, store.journal().phase) == (2, "complete")


def test_samples_are_checked(store):
    for sample in (0, -1):
        with pytest.raises(InputError, match=f"sample: {sample}, expected at least 1"):
            Migration(store, models()).verify(sample)


def test_the_command_says_its_bound_and_names_what_is_wrong(store, tmp_path, capsys, monkeypatch):
    url = f"sqlite:///{tmp_path / 'gallery.db'}"

    def verify(its, *options):
        monkeypatch.setattr("compat.live.verbs.migrating.load_models", lambda _: its)
        given = ("verify", url, "--models", "its.models", *options)
        with pytest.raises(SystemExit) as ended:
            main(given)
        return ended.value.code, capsys.readouterr().out

    code, out = verify(models(), "--sample", "30")
    assert code == 0
    assert "30 were embedded again: 0 differ from the stored ones, so at most 10.00% of all differ (with 95 %" in out
    code, out = verify(models(new=drifting(["i3"])))
    assert code == 1
    assert "40 were embedded again: 1 differ from the stored ones\n  i3\n" in out
    assert out.endswith("not sound\n")
    code, out = verify(models(), "--sample", "30")
    assert code == 1
    assert "next: verify --sample of more than 40" in out
    code, out = verify(models(new=drifting(["i3"])), "--json")
    found = json.loads(out)
    assert (found["sound"], found["drifted"], found["doubt"], found["sampled"]) == (False, ["i3"], 40, 40)
    found = json.loads(verify(models(), "--json")[1])
    assert (found["sound"], found["bound"], found["unread"], found["doubt"]) == (True, 0.0, {}, 0)
