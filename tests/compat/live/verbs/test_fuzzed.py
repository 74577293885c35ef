"""Tables of items that were damaged somewhere: the items that are in them, or one line."""

import csv
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from compat.errors import InputError
from compat.live.verbs.columns import parse_value
from compat.live.verbs.table import read
from tests.helpers.damage import damaged

COUNT = 12
OLD = np.random.default_rng(0).normal(size=(COUNT, 4)).astype(np.float32)
IDS, CONTENTS, LANGUAGES = ([f"{name}{n}" for n in range(COUNT)] for name in ("i", "c", "ü"))
ITEMS = [(id, content, {"lang": lang}) for id, content, lang in zip(IDS, CONTENTS, LANGUAGES, strict=True)]
FUZZED = settings(max_examples=200, deadline=None, derandomize=True)


def archive():
    file = io.BytesIO()
    np.savez_compressed(file, id=np.array(IDS), content=np.array(CONTENTS), old=OLD, lang=np.array(LANGUAGES))
    return file.getvalue()


def table():
    rows = zip(IDS, CONTENTS, LANGUAGES, strict=True)
    return "id,content,lang\r\n" + "".join(",".join(row) + "\r\n" for row in rows)


def told(path):
    """The items of a file, or why there are none, in one line."""
    try:
        its = read(str(path))
        found = list(its.items())
    except InputError as error:
        reason = str(error)
    else:
        assert its.ids == [item.id for item in found]
        return found
    assert "\n" not in reason
    assert path.stem in reason
    return None


def same(found, items=ITEMS):
    assert [(item.id, item.content, item.meta) for item in found] == items
    np.testing.assert_array_equal([item.old for item in found], OLD)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    np.save(folder / "items.npy", OLD)
    return folder


@FUZZED
@given(content=damaged(archive()))
def test_a_damaged_archive(folder, content):
    (folder / "items.npz").write_bytes(content)
    if (found := told(folder / "items.npz")) is not None:
        same(found)


@FUZZED
@given(content=damaged(table().encode()))
def test_a_damaged_csv_file_is_read_as_python_reads_it(folder, content):
    (folder / "items.csv").write_bytes(content)
    if (found := told(folder / "items.csv")) is None:
        return
    cells = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    meta = [name for name in cells[0] if name not in ("id", "content", "old", "")]
    same(found, [(row["id"], row["content"], {name: parse_value(row[name]) for name in meta}) for row in cells])


@FUZZED
@given(content=damaged(OLD.tobytes()))
def test_damaged_embeddings_beside_a_csv_file(folder, content):
    file = io.BytesIO()
    np.save(file, OLD)
    (folder / "others.csv").write_bytes(table().encode())
    (folder / "others.npy").write_bytes(file.getvalue()[:128] + content)
    found = told(folder / "others.csv")
    assert (found is None) == (len(content) != OLD.nbytes)
    if found is not None:
        assert np.stack([item.old for item in found]).tobytes() == content


@pytest.fixture(scope="module", params=["plain", "packed", "groups"])
def parquet(request):
    """A file with checksums, and where its footer begins, which has none."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    options: dict[str, dict[str, Any]] = {
        "plain": {"compression": "none", "use_dictionary": False},
        "packed": {"compression": "zstd"},
        "groups": {"row_group_size": 5},
    }
    old = pa.array(OLD.tolist(), pa.list_(pa.float32()))
    file = io.BytesIO()
    columns = {"id": IDS, "content": CONTENTS, "old": old, "lang": LANGUAGES}
    pq.write_table(pa.table(columns), file, write_page_checksum=True, **options[request.param])
    content = file.getvalue()
    return content, len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def test_damaged_pages_of_a_parquet_file(folder, parquet):
    content, footer = parquet

    @FUZZED
    @given(damage=damaged(content, 0, footer))
    def fuzz(damage):
        (folder / "items.parquet").write_bytes(damage)
        if (found := told(folder / "items.parquet")) is not None:
            same(found)

    fuzz()


def test_a_damaged_footer_of_a_parquet_file(folder, parquet):
    """It has no checksum, so names and types of further columns may be others; items and embeddings are not."""
    content, footer = parquet

    @FUZZED
    @given(damage=damaged(content, footer))
    def fuzz(damage):
        (folder / "items.parquet").write_bytes(damage)
        if (found := told(folder / "items.parquet")) is not None:
            same([item._replace(meta={}) for item in found], [(id, content, {}) for id, content, _ in ITEMS])

    fuzz()
