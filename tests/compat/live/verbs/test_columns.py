"""Ids, dates and indices in tables of items as other programs write them, and files that `init` refuses by name."""

import os
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.live import open_store
from compat.live.verbs.columns import format_duration, format_times
from compat.live.verbs.table import read
from tests.helpers.live_doubles import URL, refused

OLD = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
IDS, CONTENTS = ["a", "b", "c"], ["c1", "c2", "c3"]
TIMES = ["2020-01-01", "2020-01-01T12:30", "NaT"]
UNITS = ["D", "h", "m", "s", "ms", "us", "ns"]


def npz(**changes):
    given: dict[str, Any] = {"id": IDS, "content": CONTENTS, "old": OLD} | changes
    np.savez("t.npz", **given)
    return "t.npz"


def parquet(options=None, **changes):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    given = {"id": IDS, "content": CONTENTS, "old": pa.array(OLD.tolist(), pa.list_(pa.float32()))} | changes
    pq.write_table(pa.table(given), "t.parquet", **options or {})
    return "t.parquet"


def csv(text, encoding="utf-8"):
    with open("t.csv", "w", encoding=encoding, newline="") as file:
        file.write(text)
    np.save("t.npy", OLD)
    return "t.csv"


def meta(given, name):
    return [item.meta[name] for item in read(given).items()]


@pytest.mark.parametrize("unit", UNITS)
def test_dates_are_the_same_text_whatever_the_unit_and_the_format(unit):
    days = np.array(["2020-01-01", "1969-12-31", "NaT"], f"M8[{unit}]")
    assert meta(npz(day=days), "day") == ["2020-01-01", "1969-12-31", None]
    pa = pytest.importorskip("pyarrow")
    if unit in ("s", "ms", "us", "ns"):
        assert meta(parquet(day=pa.array(days)), "day") == ["2020-01-01", "1969-12-31", None]
        zoned = pa.array(days).cast(pa.timestamp(unit, tz="Europe/Berlin"))
        assert meta(parquet(day=zoned), "day") == ["2020-01-01Z", "1969-12-31Z", None]
    assert meta(parquet(day=pa.array(days.astype("M8[D]"))), "day") == ["2020-01-01", "1969-12-31", None]


@pytest.mark.parametrize("unit", UNITS[2:])
def test_times_and_durations_likewise(unit):
    assert format_times(np.array(TIMES, f"M8[{unit}]")) == ["2020-01-01", "2020-01-01T12:30", None]
    assert format_times(np.array([90, "NaT"], "m8[m]").astype(f"m8[{unit}]")) == ["1:30:00", None]
    assert meta(npz(took=np.array([60, 0, "NaT"], "m8[m]").astype(f"m8[{unit}]")), "took") == [
        "1:00:00",
        "0:00:00",
        None,
    ]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (10**9 + 1, "D", "1000000001 days, 0:00:00"),
        (10**11, "W", "700000000000 days, 0:00:00"),
        (2**62, "s", "53375995583650 days, 7:45:04"),
        (-(2**62), "ms", "-53375995584 days, 8:23:32.096000"),
        (999, "ns", "0:00:00.000000999"),
        (1500, "ns", "0:00:00.0000015"),
        (1500 * 10**3, "ps", "0:00:00.0000015"),
        (-1, "as", "-1 day, 23:59:59.999999999999999999"),
    ],
)
def test_durations_are_exact_however_long_or_short(value, unit, text):
    values = np.array([value, 0, "NaT"], f"m8[{unit}]")
    assert meta(npz(took=values), "took") == [text, "0:00:00", None]
    if unit in ("s", "ms", "us", "ns"):
        pa = pytest.importorskip("pyarrow")
        assert meta(parquet(took=pa.array([value, 0, None], pa.duration(unit))), "took") == [text, "0:00:00", None]


@given(st.timedeltas(), st.sampled_from(["us", "ns", "ps"]))
def test_durations_are_written_as_python_s(value, unit):
    exact = value // timedelta(microseconds=1)
    assert format_duration(exact * 10**12) == str(value)
    if abs(exact) < 2**63 // 10**6:
        assert format_times(np.array([exact], "m8[us]").astype(f"m8[{unit}]")) == [str(value)]


@pytest.mark.parametrize("kind", ["m8[Y]", "m8[M]", "m8"])
def test_durations_without_an_exact_length_are_refused(call, kind):
    refused(call("init", URL, "--items", npz(took=np.arange(3).astype(kind))), "took: of type timedelta64", "in days")
    assert not os.path.exists("gallery.db")


def test_times_beyond_those_of_python():
    pa = pytest.importorskip("pyarrow")
    for at in (2**60, -(2**60)):
        found = meta(parquet(t=pa.array([at, 0, None], pa.timestamp("us"))), "t")
        assert found == meta(npz(t=np.array([at, 0, "NaT"], "M8[us]")), "t")
        assert isinstance(found[0], str)
    assert meta(parquet(t=pa.array([2**30, 0, None], pa.date32())), "t")[0].startswith("2941775-")
    listed = pa.array([[2**60], None, None], pa.list_(pa.timestamp("us")))
    for values in (listed, pa.array([2**60, 0, 0], pa.int64()).view(pa.time64("us"))):
        file = parquet(t=values)
        with pytest.raises(ValueError, match=r"^items: t.parquet \(.*\), expected a table of items$") as raised:
            read(file)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["id", "content"])
@pytest.mark.parametrize("kind", ["f4", "f8", "longdouble", "bool", "M8[ns]", "S1", "complex64"])
def test_ids_and_contents_are_text_or_whole_numbers(call, name, kind):
    values = np.array([1, 2, 3]).astype(kind)
    refused(call("init", URL, "--items", npz(**{name: values})), f"{name}: of type {values.dtype}", "expected text")
    assert not os.path.exists("gallery.db")


@pytest.mark.parametrize("name", ["id", "content"])
@pytest.mark.parametrize("kind", ["double", "decimal", "bool", "timestamp", "list", "categories"])
def test_ids_and_contents_in_parquet_likewise(call, name, kind):
    pa = pytest.importorskip("pyarrow")
    values = {
        "double": [1.0, None, 3.0],
        "decimal": pa.array([1, 2, 3]).cast(pa.decimal128(30, 2)),
        "bool": [True, False, True],
        "timestamp": pa.array([1, 2, 3], pa.timestamp("ns")),
        "list": [["a"], ["b"], ["c"]],
        "categories": pa.array([1.0, 2.0, 3.0]).dictionary_encode(),
    }[kind]
    words = ["pandas makes floats"] if kind in ("double", "categories") else []
    refused(call("init", URL, "--items", parquet(**{name: values})), f"{name}: of type", "expected text", *words)
    assert not os.path.exists("gallery.db")


def test_whole_numbers_and_categories_are_ids(call):
    pa = pytest.importorskip("pyarrow")
    for number, ids in enumerate(
        ([1, 2, 3], pa.array(["1", "2", "3"]).dictionary_encode(), pa.array([1, 2, 3], "uint64"))
    ):
        assert read(parquet(id=ids)).ids == ["1", "2", "3"], number
    assert read(npz(id=np.array([1, 2, 3], np.uint8))).ids == ["1", "2", "3"]


def test_an_index_of_pandas_is_left_out():
    assert read(parquet(__index_level_0__=[5, 6, 7], lang=["de", "en", "fr"])).meta == ["lang"]
    assert read(csv(",id,content\n0,a,c1\n1,b,c2\n2,c,c3\n")).meta == []
    assert [dict(item.meta) for item in read("t.csv").items()] == [{}] * 3


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_as_spreadsheets_write_it(encoding, ends):
    found = read(csv(ends.join(["id,content,lang", 'a,"c,1",é', '"b","c ""2""",en', "", "c,c3,", ""]), encoding))
    assert found.ids == IDS
    assert [(item.content, item.meta["lang"]) for item in found.items()] == [("c,1", "é"), ('c "2"', "en"), ("c3", "")]


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        ("id,content\na,é\n", "latin-1", ["t.csv", "utf-8"]),
        ("id,content\na,b\n", "utf-16", ["t.csv", "text in UTF-16"]),
        ('id,content\na,"c1\nb,c2\nc,c3\n', "utf-8", ["t.csv", "unexpected end of data"]),
        ('id,content\na,"c1"x\nb,c2\nc,c3\n', "utf-8", ["t.csv", "expected after"]),
        ("id;content\na;c1\n", "utf-8", ["has columns id;content", "expected id"]),
        ("", "utf-8", ["has columns", "expected id"]),
        ("id,content,old\na,c1,1\n", "utf-8", ["t.csv has a column 'old', expected embeddings in t.npy"]),
        ("id,content\n", "utf-8", ["for 0 rows"]),
        ("id,content\na,c1\nb,c2\n", "utf-8", ["for 2 rows"]),
        ("id,content\na,c1\nb\nc,c3\n", "utf-8", ["record 2 has 1 cells, expected 2"]),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "utf-8", ["t.csv", "expected id"]),
        (f"id,content\na,{'x' * 140000}\nb,c\nc,d\n", "utf-8", ["t.csv", "field limit"]),
    ],
)
def test_csv_that_is_refused(call, text, encoding, words):
    refused(call("init", URL, "--items", csv(text, encoding)), *words)
    assert not os.path.exists("gallery.db")


@pytest.mark.parametrize("name", ["content", "lang", "id"])
def test_text_in_parquet_that_is_no_utf8_is_refused_before_there_is_a_store(call, name):
    pa = pytest.importorskip("pyarrow")
    torn = pa.Array.from_buffers(pa.string(), 3, pa.array([b"ok", b"caf\xe9", b"x"]).buffers())
    refused(call("init", URL, "--items", parquet(**{name: torn})), "t.parquet", "Invalid UTF8")
    assert not os.path.exists("gallery.db")


@pytest.mark.parametrize(
    ("name", "value"), [("lang", np.array([1, 2, 3], np.longdouble)), ("lang", np.zeros(3, "i4,i4"))]
)
def test_meta_of_a_type_that_json_does_not_have(call, name, value):
    refused(
        call("init", URL, "--items", npz(**{name: value})), f"lang: of type {value.dtype}", "expected text or numbers"
    )


@pytest.mark.parametrize("name", ["id", "content", "lang"])
@pytest.mark.parametrize("kind", ["", "view", "large", "fixed", "list", "struct", "deep", "categories"])
def test_bytes_in_parquet(call, name, kind):
    pa = pytest.importorskip("pyarrow")
    values = pa.array([b"de", b"en", b"fr"])
    if kind in ("view", "large", "fixed"):
        values = values.cast({"view": pa.binary_view(), "large": pa.large_binary(), "fixed": pa.binary(2)}[kind])
    elif kind == "categories":
        values = values.dictionary_encode()
    elif kind:
        found = {"list": lambda one: [one], "struct": lambda one: {"a": one}, "deep": lambda one: [{"a": [one]}]}[kind]
        values = pa.array([found(one) for one in (b"de", b"en", b"fr")])
    refused(call("init", URL, "--items", parquet(**{name: values})), f"{name}: of type", "binary", "expected text")
    assert not os.path.exists("gallery.db")


def test_names_that_say_binary_are_no_bytes():
    pa = pytest.importorskip("pyarrow")
    assert read(parquet(binary=pa.array([{"binary": 1}, None, {"binary": 2}]))).meta == ["binary"]


@pytest.mark.parametrize("place", ["header", "page"])
def test_a_parquet_file_damaged_near_its_end_leaves_no_store(call, place):
    pq = pytest.importorskip("pyarrow.parquet")
    file = parquet({"compression": "none", "use_dictionary": False, "write_page_checksum": True})
    content = bytearray(Path(file).read_bytes())
    column = pq.ParquetFile(file).metadata.row_group(0).column(2)
    at = column.data_page_offset + (0 if place == "header" else column.total_compressed_size - 2)
    content[at] ^= 0xFF
    Path(file).write_bytes(content)
    refused(call("init", URL, "--items", file), "t.parquet", "expected a table of items")
    assert not os.path.exists("gallery.db")


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_packed_bits_have_a_note(call, kind):
    pa = pytest.importorskip("pyarrow")
    bits = np.arange(6).reshape(3, 2).astype(kind)
    for number, file in enumerate((npz(old=bits), parquet(old=pa.array(bits.tolist(), pa.list_(getattr(pa, kind)()))))):
        code, _, err = call("init", f"sqlite:///{number}.db", "--items", file)
        assert code == 0
        assert (
            err
            == f"warning: old: {kind}, compared as numbers; if they are packed bits, unpack them by numpy.unpackbits"
        )
        assert open_store(f"sqlite:///{number}.db").gallery().old.tolist() == bits.tolist()


def test_other_embeddings_have_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(npz(old=OLD.astype(np.float16)))
        read(npz(old=(10 * OLD).astype(np.int16)))
