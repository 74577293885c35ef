"""Extraction by another engine: what goes out and comes back makes the migration that a run makes, or is refused."""

import json
import sys
import uuid
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat.errors import InputError
from compat.experience import OwnForward
from compat.live import Item, Journal, Migration, Models, Rows, Searcher, Writer, control, open_store
from compat.live import manifest as manifests
from compat.live.items import Report
from compat.live.manifest import apply, export, fingerprint
from compat.live.store import amended
from compat.live.worker import Worker
from compat.methods import Pair, Procrustes
from compat.models import Precomputed

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")

ITEMS, OLD, NEW = 40, 3, 5
NAMES = [f"item {n}" for n in range(ITEMS)] + ["later"]
DRAWN = np.random.default_rng(0)
OLDS, NEWS = (DRAWN.normal(size=(len(NAMES), dim)).astype(np.float32) for dim in (OLD, NEW))


def models(**changes) -> Models:
    return Models(**{"new": Rows(NAMES, NEWS), "old": Rows(NAMES, OLDS), **changes})


def made(folder, name="gallery", its=None, **plan) -> Migration:
    """A store whose migration is planned."""
    store = open_store(f"sqlite:///{folder / name}.db")
    store.create(Journal(OLD, "cosine", ("even",)))
    store.add(Item(NAMES[n], NAMES[n], {"even": n % 2 == 0}, n + 1, OLDS[n]) for n in range(ITEMS))
    migration = Migration(store, its or models())
    migration.plan(**{"batch": 7, **plan})
    return migration


@pytest.fixture
def migration(tmp_path):
    its = made(tmp_path)
    yield its
    its.store.close()


def extracted(path, unreadable=(), vectors=NEWS):
    """What any engine makes of a manifest."""
    table = pq.read_table(path)
    contents = table["content"].to_pylist()
    rows = [None if c in unreadable else vectors[NAMES.index(c)].tolist() for c in contents]
    why = [f"{c} is torn" if c in unreadable else None for c in contents]
    return (
        table.select(["id", "version", "migration"])
        .append_column("vector", pa.array(rows, pa.list_(pa.float32())))
        .append_column("failure", pa.array(why, pa.string()))
    )


def state(store) -> list[tuple]:
    """All that a store knows of each item, but for what it is found by meanwhile."""
    items = [store.get(name) for name in NAMES]
    known = [
        (
            i.id,
            i.content,
            dict(i.meta),
            i.version,
            i.failure,
            *(None if v is None else v.tolist() for v in (i.old, i.new)),
        )
        for i in items
        if i is not None
    ]
    return sorted(known, key=lambda row: row[0])


def told(step) -> str:
    """Why it was refused, if it was."""
    try:
        step()
    except InputError as error:
        return str(error)
    return ""


def column(table, name, values):
    return table.set_column(table.schema.names.index(name), name, values)


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
    amended(store, lambda j: replace(j, phase="none"))
    store.place(NAMES[10:ITEMS])  # ten are of no place
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
    assert by_run.store.journal() == by_file.store.journal()
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


@pytest.mark.parametrize("backwards", [False, True])
def test_a_learner_learns_on_the_way_of_files_too(backwards, tmp_path):
    its = models(learner=OwnForward(Precomputed(OLD), Precomputed(NEW)), refit=(0.25, 0.5))
    by_run, by_file = made(tmp_path, "run", its), made(tmp_path, "file", its)
    by_run.run()
    export(by_file.store, tmp_path / "m.parquet")
    table = extracted(tmp_path / "m.parquet")
    pq.write_table(table.take(list(range(ITEMS))[:: -1 if backwards else 1]), tmp_path / "v.parquet")
    assert apply(by_file.store, its, tmp_path / "v.parquet").phase == "complete"
    assert by_run.store.journal() == by_file.store.journal()
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


def test_a_late_failure_does_not_take_a_vector_away_and_a_vector_revives_a_dead_letter(migration, tmp_path):
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

    with pytest.raises(InputError, match=r"^apply: migration 1 is rolled_back by now, expected migration 1 to run"):
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


BAD = {
    "no version": (lambda t: t.drop_columns(["version"]), "version: no such column in .*, expected id, version, mig"),
    "no vector": (lambda t: t.drop_columns(["vector"]), "vector: no such column"),
    "no migration": (lambda t: t.drop_columns(["migration"]), "migration: no such column"),
    "other fingerprint": (
        lambda t: column(t, "migration", pa.array(["1 0123456789abcdef"] * len(t))),
        "migration: '1 0123456789abcdef' in .*, expected '1 ",
    ),
    "no stamp": (lambda t: column(t, "migration", pa.nulls(len(t), pa.string())), "migration: None in .*, expected"),
    "short": (
        lambda t: column(t, "vector", pa.array([[1.0] * 4] * len(t))),
        "vector: 4 values of item 'item .*expected 5",
    ),
    "NaN": (
        lambda t: column(t, "vector", pa.array([[float("nan")] * NEW] * len(t))),
        "vector: NaN or infinite values of item",
    ),
    "null in a vector": (lambda t: column(t, "vector", pa.array([[1.0, None, 1, 1, 1]] * len(t))), "vector: NaN"),
    "too large for 32 bits": (lambda t: column(t, "vector", pa.array([[1e300] * NEW] * len(t))), "vector: NaN or inf"),
    "whole numbers": (lambda t: column(t, "vector", pa.array([[1] * NEW] * len(t))), "of type list.*lists of floats"),
    "no lists": (lambda t: column(t, "vector", pa.array([1.0] * len(t))), "vector: of type double in .*lists of fl"),
    "neither": (lambda t: column(t, "vector", pa.nulls(len(t), pa.list_(pa.float32()))), "expected either one or a fa"),
    "both": (
        lambda t: column(t, "failure", pa.array(["why"] * len(t))),
        "vector: of item .*expected either one or a f",
    ),
    "versions as floats": (lambda t: column(t, "version", pa.array([1.5] * len(t))), "version: 1.5 in .*, expected it"),
    "no id": (lambda t: column(t, "id", pa.nulls(len(t), pa.string())), "id: None in .*, expected it as the manifest"),
    "huge version": (lambda t: column(t, "version", pa.array([2**63] * len(t), pa.uint64())), "version: 922337"),
    "another model": (lambda t: column(t, "vector", pa.array((2 * NEWS[: len(t)]).tolist())), "is not what models.new"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_before_anything_is_written(name, migration, tmp_path):
    change, message = BAD[name]
    export(migration.store, tmp_path / "m.parquet")
    folder = tmp_path / "parts"
    folder.mkdir()
    pq.write_table(extracted(tmp_path / "m.parquet"), folder / "a.parquet")
    pq.write_table(change(extracted(tmp_path / "m.parquet")), folder / "b.parquet")
    with pytest.raises(InputError, match=f"^(?s:.)*{message}") as raised:
        apply(migration.store, migration.models, folder)
    assert "\n" not in str(raised.value)
    assert migration.store.counts().new == 0
    assert migration.store.journal().phase == "planned"


def test_what_came_before_a_bad_row_stays(migration, tmp_path):
    export(migration.store, tmp_path / "m.parquet")
    table = extracted(tmp_path / "m.parquet")
    vectors = table["vector"].to_pylist()
    vectors[20][2] = float("inf")
    pq.write_table(column(table, "vector", pa.array(vectors)), tmp_path / "v.parquet")
    with pytest.raises(InputError, match="NaN or infinite values of item"):
        apply(migration.store, migration.models, tmp_path / "v.parquet")
    assert migration.store.counts().new == 14  # two batches of seven
    assert migration.run().phase == "complete"
    assert not migration.verify(100).drifted


@pytest.mark.parametrize("kind", ["float64", "float16", "fixed", "large"])
def test_vectors_of_other_types_are_taken(kind, migration, tmp_path):
    kinds = {
        "float64": pa.list_(pa.float64()),
        "float16": pa.list_(pa.float16()),
        "fixed": pa.list_(pa.float32(), NEW),
        "large": pa.large_list(pa.float32()),
    }
    export(migration.store, tmp_path / "m.parquet")
    table = extracted(tmp_path / "m.parquet", NAMES[3:4])
    cast = np.float16 if kind == "float16" else np.float32
    rows = [None if row is None else list(np.array(row, cast)) for row in table["vector"].to_pylist()]
    pq.write_table(column(table, "vector", pa.array(rows, kinds[kind])), tmp_path / "v.parquet")
    assert apply(migration.store, migration.models, tmp_path / "v.parquet") == (ITEMS - 1, 0, 1, "complete")
    for name in (NAMES[2], NAMES[4]):
        np.testing.assert_array_equal(migration.store.get(name).new, NEWS[NAMES.index(name)].astype(cast))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_one_line_or_harmless(data, tmp_path):
    """Cut anywhere, or a byte changed anywhere: no vector but a right one is ever written."""
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    migration = made(folder)
    export(migration.store, folder / "m.parquet")
    pq.write_table(extracted(folder / "m.parquet"), folder / "v.parquet", write_page_checksum=True)
    content = bytearray((folder / "v.parquet").read_bytes())
    at = data.draw(st.integers(0, len(content) - 1), label="at")
    if data.draw(st.booleans(), label="cut"):
        content = content[:at]
    else:
        content[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    (folder / "v.parquet").write_bytes(content)
    assert "\n" not in told(lambda: apply(migration.store, migration.models, folder / "v.parquet"))
    for name in NAMES[:ITEMS]:
        item = migration.store.get(name)
        assert item is not None
        assert item.new is None or (item.new == NEWS[NAMES.index(name)]).all()
    migration.store.close()


def test_no_such_file(migration, tmp_path):
    with pytest.raises(InputError, match="expected a parquet file or a folder"):
        apply(migration.store, migration.models, tmp_path / "v.parquet")
    with pytest.raises(InputError, match="expected a parquet file or a folder"):
        apply(migration.store, migration.models, tmp_path)
    with pytest.raises(InputError, match=r"^manifest: .*expected a file that can be written"):
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
    with pytest.raises(InputError, match=r"^export: the store is in phase rolled_back, expected a migration"):
        export(migration.store, tmp_path / "m.parquet")


def test_without_pyarrow(migration, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for step in (lambda: export(migration.store, tmp_path / "m"), lambda: fingerprint(tmp_path / "m")):
        with pytest.raises(InputError, match=r"pip install compat-bench\[parquet\]"):
            step()
