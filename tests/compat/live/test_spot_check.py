"""Vectors of another engine that are not their items': none is served."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat.errors import InputError
from compat.live import Item, Journal, Migration, Models, Rows, open_store
from compat.live.manifest import apply, export
from tests.helpers.live_files import ITEMS, NAMES, NEWS, OLDS, column, extracted, made, told

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")


def changed(path, change):
    """What an engine makes of a manifest, with its vectors (N, D) changed, in a file beside it."""
    table = extracted(path)
    rows = change(np.array(table["vector"].to_pylist(), np.float32))
    pq.write_table(column(table, "vector", pa.array(rows.tolist(), pa.list_(pa.float32()))), path.parent / "v.parquet")
    return path.parent / "v.parquet"


def wrong(store):
    items = [item for name in NAMES[:ITEMS] if (item := store.get(name)) is not None and item.new is not None]
    return [item.id for item in items if not (item.new == NEWS[NAMES.index(item.content)]).all()]


def shifted(first):
    return lambda rows: np.concatenate([rows[:first], np.roll(rows[first:], 1, 0)])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(7, ITEMS - 2))
def test_rows_that_are_shifted_from_anywhere_on_are_not_served(first, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    migration = made(folder)
    export(migration.store, folder / "m.parquet")
    path = changed(folder / "m.parquet", shifted(first))
    with warnings.catch_warnings(record=True):
        found = told(lambda: apply(migration.store, migration.models, path))
    assert wrong(migration.store) == []
    written = migration.store.counts().new
    assert first // 7 * 7 <= written < ITEMS
    if found:
        assert "is not reproduced by models.new" in found
        assert found.endswith(f"expected its embedding; {written} vectors were written before")
    migration.store.close()


def test_rows_that_are_shifted_after_the_first_256_are_refused_before_they_are_served(tmp_path):
    names = [f"n{n}" for n in range(1000)]
    old, new = (np.random.default_rng(n).normal(size=(1000, n)).astype(np.float32) for n in (3, 5))
    store = open_store(f"sqlite:///{tmp_path / 'gallery.db'}")
    store.create(Journal(3, "cosine"))
    store.add(Item(name, name, {}, 1, row) for name, row in zip(names, old, strict=True))
    its = Models(Rows(names, new), Rows(names, old))
    Migration(store, its).plan()
    export(store, tmp_path / "m.parquet")
    table = pq.read_table(tmp_path / "m.parquet")
    right = np.stack([new[names.index(content)] for content in table["content"].to_pylist()])
    table = table.select(["id", "version", "migration"])
    pq.write_table(table.append_column("vector", pa.array(shifted(256)(right).tolist())), tmp_path / "v.parquet")
    with pytest.raises(InputError, match=r"^vector: of item 'n\d+' .* like \d+ of \d+, .*; 256 vectors were"):
        apply(store, its, tmp_path / "v.parquet")
    assert store.counts().new == 256
    assert Migration(store, its).run().phase == "complete"
    assert Migration(store, its).verify(1000).sound
    store.close()


def test_single_vectors_that_are_wrong_are_left_out_with_their_names(migration, tmp_path):
    export(migration.store, tmp_path / "m.parquet")

    def change(rows):
        rows[[3, 20]] *= -1
        return rows

    path = changed(tmp_path / "m.parquet", change)
    ids = pq.read_table(path)["id"].to_pylist()
    with pytest.warns(UserWarning, match="left out") as warned:
        assert apply(migration.store, migration.models, path) == (ITEMS - 2, 0, 0, "running")
    for n, warning in zip((3, 3, 20), warned, strict=True):  # the first batch is looked at twice
        assert f"1 of 7 ({ids[n]!r}) are not reproduced by models.new, and are left out" in str(warning.message)
    assert wrong(migration.store) == []
    assert migration.run().phase == "complete"
    assert migration.verify().sound


def test_of_an_id_that_comes_twice_the_vector_that_is_written_is_looked_at(migration, tmp_path):
    export(migration.store, tmp_path / "m.parquet")
    table = extracted(tmp_path / "m.parquet")
    rows = table["vector"].to_pylist()
    both = column(table.take([0, *range(5)]), "vector", pa.array([[-x for x in rows[0]], *rows[:5]]))
    pq.write_table(both, tmp_path / "v.parquet")
    with pytest.warns(UserWarning, match="are left out"):
        apply(migration.store, migration.models, tmp_path / "v.parquet")
    assert wrong(migration.store) == []


class Gone(Rows):
    """The new model where some contents cannot be read here."""

    def __init__(self, *gone: str) -> None:
        super().__init__(NAMES, NEWS)
        self.gone = set(gone)

    def __call__(self, contents):
        if self.gone & set(contents):
            raise FileNotFoundError(min(self.gone & set(contents)))
        return super().__call__(contents)


def test_what_cannot_be_read_here_is_taken_unless_nothing_can(tmp_path):
    new = Gone()
    migration = made(tmp_path, its=Models(new, Rows(NAMES, OLDS)))
    export(migration.store, tmp_path / "m.parquet")
    path = changed(tmp_path / "m.parquet", lambda rows: rows)
    ids = pq.read_table(path)["id"].to_pylist()
    new.gone = set(ids)
    with pytest.raises(InputError, match=r"^vector: of item .* FileNotFoundError: .*, expected items which"):
        apply(migration.store, migration.models, path)
    assert migration.store.counts().new == 0
    new.gone = set(ids[::3])
    assert apply(migration.store, migration.models, path) == (ITEMS, 0, 0, "complete")
    migration.store.close()


def test_failures_of_a_model_that_was_broken_elsewhere_are_no_failed_items(migration, tmp_path):
    export(migration.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet", NAMES), tmp_path / "v.parquet")
    with pytest.raises(InputError, match=r"^failure: of item .*, which models.new reads, like 7 of 7, expected"):
        apply(migration.store, migration.models, tmp_path / "v.parquet")
    assert migration.store.counts().failed == 0


def test_failures_here_and_elsewhere_are_the_models(tmp_path):
    new = Gone()
    migration = made(tmp_path, its=Models(new, Rows(NAMES, OLDS)))
    export(migration.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet", NAMES), tmp_path / "v.parquet")
    new.gone = set(NAMES)
    with pytest.raises(InputError, match=r"^models.new: it failed on all 7 items of a batch \(item \d+ is torn\) and"):
        apply(migration.store, migration.models, tmp_path / "v.parquet")
    assert migration.store.counts().failed == 0
    migration.store.close()
