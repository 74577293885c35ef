"""Extraction by another engine: what goes out and comes back makes the migration that a run makes, or is refused."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from compat.errors import InputError
from compat.experience import OwnForward
from compat.live import Item, Journal, Migration, Rows, Searcher, Writer, control
from compat.live import manifest as manifests
from compat.live.items import Report
from compat.live.manifest import apply, export, fingerprint
from compat.live.worker import Worker
from compat.methods import Pair, Procrustes
from compat.models import Precomputed
from tests.helpers.live_files import ITEMS, NAMES, NEW, NEWS, OLD, OLDS, extracted, made, models, state
from tests.helpers.live_stores import planned

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")


def test_a_manifest_is_what_workers_would_do(migration, tmp_path):
    assert export(migration.store, tmp_path / "m.parquet") == ITEMS
    table = pq.read_table(tmp_path / "m.parquet")
    assert table.schema.names == ["id", "version", "content", "place", "migration"]
    assert table["place"].to_pylist() == list(range(ITEMS))
    places = dict(
        zip(*(migration.store.gallery()[n] if n else migration.store.gallery().ids for n in (0, 2)), strict=True)
    )
    assert [places[id] for id in table["id"].to_pylist()] == list(range(ITEMS))
    assert all(migration.store.get(r["id"])[1:4:2] == (r["content"], r["version"]) for r in table.to_pylist())
    assert fingerprint(tmp_path / "m.parquet") == dict(migration.models.fingerprint)
    assert json.loads(table.schema.metadata[b"compat"])["migration"] == 1


def test_a_manifest_has_no_more_than_what_is_pending(migration, tmp_path):
    migration.run(until=0.25)
    Writer(migration.store, migration.models).delete(NAMES[0])
    count = export(migration.store, tmp_path / "m.parquet")
    left = {name for name in NAMES[:ITEMS] if (i := migration.store.get(name)) and i.new is None}
    assert set(pq.read_table(tmp_path / "m.parquet")["id"].to_pylist()) == left
    assert count == len(left) == migration.store.counts().pending < ITEMS


def test_what_was_written_since_the_plan_comes_first(migration, tmp_path):
    Writer(migration.store, migration.models).put(NAMES[5], NAMES[6])
    export(migration.store, tmp_path / "m.parquet")
    first = pq.read_table(tmp_path / "m.parquet").to_pylist()[0]
    assert (first["id"], first["content"], first["place"]) == (NAMES[5], NAMES[6], -1)


def test_pages_of_a_manifest_meet_each_item_once_whatever_is_written_meanwhile(migration):
    store, seen = migration.store, []
    planned(store, NAMES[10:ITEMS])  # ten are of no place
    page = store.pending(3)
    while page:
        seen += [item.id for item in page]
        store.delete(page[-1].id)  # the very item to go on from
        page = store.pending(3, page[-1])
    assert seen == [*sorted(NAMES[:10]), *NAMES[10:ITEMS]]


def test_row_groups_are_small(migration, tmp_path, monkeypatch):
    monkeypatch.setattr(manifests, "GROUP", 9)
    export(migration.store, tmp_path / "m.parquet")
    found = pq.ParquetFile(tmp_path / "m.parquet").metadata
    assert [found.row_group(n).num_rows for n in range(found.num_row_groups)] == [9, 9, 9, 9, 4]


def procrustes():
    upgrade = Procrustes(Precomputed(OLD), Precomputed(NEW))
    upgrade.solve(Pair(torch.from_numpy(OLDS), torch.from_numpy(NEWS), torch.zeros(len(NAMES))))
    return {"upgrade": upgrade}


@pytest.mark.parametrize("way", [dict, procrustes])
@pytest.mark.parametrize("unreadable", [(), (NAMES[3], NAMES[20])])
def test_a_migration_by_files_is_the_one_by_a_run(way, unreadable, tmp_path):
    rows = Rows([n for n in NAMES if n not in unreadable], NEWS[[n not in unreadable for n in NAMES]])
    by_run, by_file = (made(tmp_path, name, models(new=rows, **way())) for name in ("run", "file"))
    by_run.run()
    export(by_file.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet", unreadable), tmp_path / "v.parquet")
    found = apply(by_file.store, by_file.models, tmp_path / "v.parquet")
    assert found == (ITEMS - len(unreadable), 0, len(unreadable), "complete")
    for one, other in zip(state(by_run.store), state(by_file.store), strict=True):
        why, whose = one[4], other[4]
        assert (why is None, one[:4], one[5]) == (whose is None, other[:4], other[5])
        np.testing.assert_array_equal(one[6], other[6])
        assert whose is None or whose.endswith("is torn")
    assert by_run.store.journal() == replace(by_file.store.journal(), store=by_run.store.journal().store)
    if not unreadable:
        assert by_file.verify().counts.new == ITEMS
        assert by_file.finalize().phase == "finalized"


def test_queries_are_answered_as_after_a_run_half_way(tmp_path):
    by_run, by_file = made(tmp_path, "run", batch=5), made(tmp_path, "file", batch=5)
    by_run.run(until=0.5)
    export(by_file.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet").slice(0, ITEMS // 2), tmp_path / "v.parquet")
    assert apply(by_file.store, by_file.models, tmp_path / "v.parquet").phase == "running"
    for where in (None, {"even": True}):
        one, other = (Searcher(m.store, m.models).search_many(NAMES[:9], 12, where) for m in (by_run, by_file))
        assert one == other
    by_run.run()
    by_file.run()
    assert state(by_run.store) == state(by_file.store)


def test_every_store_takes_files(opened, tmp_path, monkeypatch):
    """One page of the manifest after the other, rows twice in one batch, and a content that changed."""
    monkeypatch.setattr(manifests, "GROUP", 9)
    store, its = opened(), models()
    store.create(Journal(OLD, "cosine", ("even",)))
    store.add(Item(NAMES[n], NAMES[n], {"even": n % 2 == 0}, n + 1, OLDS[n]) for n in range(ITEMS))
    Migration(store, its).plan(batch=7)
    Writer(store, its).put(NAMES[5], NAMES[6])
    assert export(store, tmp_path / "m.parquet") == ITEMS
    table = pq.read_table(tmp_path / "m.parquet")
    assert table["place"].to_pylist() == sorted(table["place"].to_pylist())
    table = extracted(tmp_path / "m.parquet", NAMES[1:2]).take([*range(ITEMS), 0, 0, 3])
    pq.write_table(table, tmp_path / "v.parquet")
    Writer(store, its).put(NAMES[8], "later")
    assert apply(store, its, tmp_path / "v.parquet") == (ITEMS - 2, 4, 1, "running")
    Migration(store, its).run()
    assert store.counts()[1:4] == (ITEMS - 1, 0, 1)
    for name in NAMES[:ITEMS]:
        item = store.get(name)
        assert item is not None
        if item.new is not None:
            np.testing.assert_array_equal(item.new, NEWS[NAMES.index(item.content)])


@pytest.mark.parametrize("backwards", [False, True])
def test_a_learner_learns_on_the_way_of_files_too(backwards, tmp_path):
    its = models(learner=OwnForward(Precomputed(OLD), Precomputed(NEW)), refit=(0.25, 0.5))
    by_run, by_file = made(tmp_path, "run", its), made(tmp_path, "file", its)
    by_run.run()
    export(by_file.store, tmp_path / "m.parquet")
    table = extracted(tmp_path / "m.parquet")
    pq.write_table(table.take(list(range(ITEMS))[:: -1 if backwards else 1]), tmp_path / "v.parquet")
    assert apply(by_file.store, its, tmp_path / "v.parquet").phase == "complete"
    assert by_run.store.journal() == replace(by_file.store.journal(), store=by_run.store.journal().store)
    assert by_file.store.journal().learned == ITEMS // 2


def test_files_that_come_twice_or_in_parts_are_harmless(migration, tmp_path):
    export(migration.store, tmp_path / "m.parquet")
    table, folder = extracted(tmp_path / "m.parquet"), tmp_path / "parts"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    pq.write_table(table.slice(0, 30), folder / "a.parquet")
    pq.write_table(table.slice(20), folder / "b.parquet")
    pq.write_table(table.slice(0, 0), folder / "c.parquet")
    assert apply(migration.store, migration.models, folder) == (ITEMS, 10, 0, "complete")
    before = state(migration.store)
    assert apply(migration.store, migration.models, folder) == (0, ITEMS + 10, 0, "complete")
    assert state(migration.store) == before


def test_it_claims_nothing(migration, tmp_path):
    """What is not in the file is at once another worker's."""
    export(migration.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet").slice(0, 9), tmp_path / "v.parquet")
    apply(migration.store, migration.models, tmp_path / "v.parquet")
    turn = migration.store.exchange(Report("another", 1), ITEMS, 60)
    assert len(turn.work) == ITEMS - 9


def test_a_doubled_row_in_one_batch_counts_once(migration, tmp_path):
    export(migration.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet").take([0, 0, 1, 0]), tmp_path / "v.parquet")
    assert apply(migration.store, migration.models, tmp_path / "v.parquet") == (2, 2, 0, "running")


def test_late_vectors_change_nothing_of_what_was_written_since(migration, tmp_path):
    """Before the migration runs and while it does: another content, deleted, deleted and written anew, new filters."""
    export(migration.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet"), tmp_path / "v.parquet")
    writer = Writer(migration.store, migration.models)
    writer.put(NAMES[1], "later")
    writer.delete(NAMES[2])
    Worker(migration.store, migration.models).start()
    writer.put(NAMES[3], "later")
    writer.delete(NAMES[4])
    writer.put(NAMES[4], NAMES[4])
    writer.describe(NAMES[5], {"even": "no"})
    found = apply(migration.store, migration.models, tmp_path / "v.parquet")
    assert found == (ITEMS - 4, 4, 0, "running")
    assert migration.store.get(NAMES[1]).new is None
    assert migration.store.get(NAMES[2]) is None
    np.testing.assert_array_equal(migration.store.get(NAMES[3]).new, NEWS[-1])
    assert migration.store.get(NAMES[5]).meta == {"even": "no"}
    assert export(migration.store, tmp_path / "m.parquet") == 1
    pq.write_table(extracted(tmp_path / "m.parquet"), tmp_path / "v.parquet")
    assert apply(migration.store, migration.models, tmp_path / "v.parquet") == (1, 0, 0, "complete")
    assert not migration.verify(100).drifted


def test_a_late_failure_does_not_take_a_vector_away_and_a_vector_revives_a_failed_item(migration, tmp_path):
    export(migration.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet", NAMES[:2]), tmp_path / "bad.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet"), tmp_path / "good.parquet")
    apply(migration.store, migration.models, tmp_path / "bad.parquet")
    assert migration.store.counts().failed == 2
    assert export(migration.store, tmp_path / "m.parquet") == 0
    assert apply(migration.store, migration.models, tmp_path / "good.parquet")[:3] == (2, ITEMS - 2, 0)
    assert apply(migration.store, migration.models, tmp_path / "bad.parquet").failures == 2
    assert migration.store.counts()[:4] == (ITEMS, ITEMS, 0, 0)


def test_files_of_a_migration_that_was_rolled_back_are_refused(migration, tmp_path):
    """Their versions are still those of the items, so nothing else would keep them out."""
    export(migration.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet"), tmp_path / "v.parquet")
    migration.rollback()
    with pytest.raises(InputError, match=r"^apply: the store is in phase rolled_back, expected"):
        apply(migration.store, migration.models, tmp_path / "v.parquet")
    migration.plan(seed=1)
    with pytest.raises(InputError, match=r"^migration: '1 \w+' in .*v.parquet, expected '2 \w+'"):
        apply(migration.store, migration.models, tmp_path / "v.parquet")
    assert migration.store.journal().phase == "planned"
    assert migration.store.counts().new == 0


def test_a_rollback_in_the_middle_stops_it(migration, tmp_path):
    export(migration.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet"), tmp_path / "v.parquet")

    def rolled_back(items, written):
        migration.rollback()

    with pytest.raises(InputError, match=r"^apply: migration 1 is rolled_back now, expected migration 1 to run"):
        apply(migration.store, migration.models, tmp_path / "v.parquet", rolled_back)
    assert migration.store.counts().new == 0


def test_a_pause_in_the_middle_stops_it_and_it_goes_on(migration, tmp_path):
    export(migration.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet"), tmp_path / "v.parquet")

    def paused(items, written):
        control.pause(migration.store)

    found = apply(migration.store, migration.models, tmp_path / "v.parquet", paused)
    assert found == (7, 0, 0, "paused")
    assert apply(migration.store, migration.models, tmp_path / "v.parquet") == (ITEMS - 7, 7, 0, "complete")


def test_no_such_file(migration, tmp_path):
    with pytest.raises(InputError, match="expected a parquet file or a folder"):
        apply(migration.store, migration.models, tmp_path / "v.parquet")
    with pytest.raises(InputError, match="expected a parquet file or a folder"):
        apply(migration.store, migration.models, tmp_path)
    with pytest.raises(InputError, match=r"^manifest: .*expected a writable file"):
        export(migration.store, tmp_path / "no" / "m.parquet")
    with pytest.raises(InputError, match=r"^manifest: .*expected a file that `export` wrote"):
        fingerprint(tmp_path / "m.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "m.parquet")
    with pytest.raises(InputError, match=r"^manifest: .*does not say of which migration"):
        fingerprint(tmp_path / "m.parquet")


def test_other_models_than_the_migrations(migration, tmp_path):
    with pytest.raises(InputError, match=r"^models.new: \w+, expected \w+, which the migration began with"):
        apply(migration.store, models(new=Rows(NAMES, 2 * NEWS)), tmp_path)


def test_no_migration_under_way(migration, tmp_path):
    migration.rollback()
    with pytest.raises(InputError, match=r"^export: the store is in phase rolled_back, expected a planned migration"):
        export(migration.store, tmp_path / "m.parquet")


def test_without_pyarrow(migration, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for step in (lambda: export(migration.store, tmp_path / "m"), lambda: fingerprint(tmp_path / "m")):
        with pytest.raises(InputError, match=r"pip install compat-bench\[parquet\]"):
            step()
