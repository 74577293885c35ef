"""Files of vectors that are refused, damaged or of another type."""

import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat.errors import InputError
from compat.live.manifest import apply, export
from tests.helpers.live_files import ITEMS, NAMES, NEW, NEWS, column, extracted, made, told

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")


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
    "another model": (
        lambda t: column(t, "vector", pa.array((2 * NEWS[: len(t)]).tolist())),
        "is not reproduced by models.new",
    ),
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


@pytest.mark.parametrize(("sound", "torn"), [(b"failure", b"\xedailure"), (b"version", b"\xffersion")])
def test_a_name_that_is_no_text_is_a_damaged_file(sound, torn, migration, tmp_path):
    export(migration.store, tmp_path / "m.parquet")
    pq.write_table(extracted(tmp_path / "m.parquet"), tmp_path / "v.parquet", store_schema=False)
    content = (tmp_path / "v.parquet").read_bytes()
    assert sound in content
    (tmp_path / "v.parquet").write_bytes(content.replace(sound, torn))
    with pytest.raises(InputError, match=r"^vectors: .*expected a whole parquet file$"):
        apply(migration.store, migration.models, tmp_path / "v.parquet")
    assert migration.store.counts().new == 0
