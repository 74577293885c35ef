"""Tables of items that `init` refuses before there is a store."""

import os

import numpy as np
import pytest

from compat.live import open_store
from tests.helpers.live_doubles import ITEMS, OLD, SPACES, URL, columns, refused


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("old", ["1", "2"], "string"),
        ("old", [1.0, 2.0], "double"),
        ("old", [["1"], ["2"]], "list<"),
        ("old", [[[1.0]], [[2.0]]], "list<"),
        ("old", [[True], [False]], "bool"),
        ("id", [b"a", b"b"], "binary"),
        ("content", [b"a", b"b"], "binary"),
    ],
)
def test_a_parquet_column_of_another_type(call, column, values, kind):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    given = {"id": ["a", "b"], "content": ["c1", "c2"], "old": [[1.0], [2.0]]} | {column: values}
    parquet.write_table(pa.table(given), "items.parquet")
    refused(call("init", URL, "--items", "items.parquet"), f"{column}: of type", kind, "items.parquet")
    assert not os.path.exists("gallery.db")


@pytest.mark.parametrize("kind", ["list_", "large_list", "fixed"])
@pytest.mark.parametrize("number", ["float64", "float32", "float16", "int64"])
def test_lists_of_numbers_in_parquet(call, kind, number):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    its = getattr(pa, number)()
    lists = pa.list_(its, 2) if kind == "fixed" else getattr(pa, kind)(its)
    rows = [list(map(np.dtype(number).type, row)) for row in ([1, 2], [3, 4])]
    table = pa.table({"id": ["a", "b"], "content": ["c1", "c2"], "old": pa.array(rows, lists)})
    parquet.write_table(table, "items.parquet")
    assert call("init", URL, "--items", "items.parquet")[0] == 0
    store = open_store(URL)
    assert store.gallery().old.tolist() == [[1, 2], [3, 4]]
    store.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": np.array(columns()["id"]).astype("S")}, ["id", "|S3", "expected text"]),
        ({"content": np.array(columns()["content"]).astype("S")}, ["content", "|S3"]),
        ({"lang": np.array(columns()["lang"]).astype("S")}, ["lang", "|S2"]),
        ({"year": np.ones(ITEMS, complex)}, ["year", "complex128"]),
        ({"old": SPACES[:ITEMS, :OLD].astype(complex)}, ["complex128", "(60, D)"]),
        ({"old": SPACES[:ITEMS, :OLD].astype("m8[s]")}, ["timedelta", "(60, D)"]),
    ],
)
def test_arrays_of_another_type(call, change, words):
    np.savez("items.npz", **{"old": SPACES[:ITEMS, :OLD], **columns()} | change)
    refused(call("init", URL, "--items", "items.npz"), *words)
    assert not os.path.exists("gallery.db")


def test_a_header_that_names_a_column_twice(call):
    with open("items.csv", "w") as file:
        file.write("id,content,id\na,c1,b\n")
    np.save("items.npy", np.ones((1, 2)))
    refused(call("init", URL, "--items", "items.csv"), "items.csv has 'id' twice")
    assert not os.path.exists("gallery.db")


def test_embeddings_beyond_32_bits_are_one_line(call):
    np.savez("items.npz", **columns(), old=np.full((ITEMS, OLD), 1e300))
    refused(call("init", URL, "--items", "items.npz"), "NaN or infinite values of item 'i0'")
