"""Tables of items in files: ids, contents, old embeddings and meta."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, starmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from compat.arrays import Archive, read_npy, readable, warn_of_packed_bits
from compat.errors import InputError
from compat.live import parquet
from compat.live.items import Item
from compat.live.verbs.columns import (
    NEEDED,
    check_types,
    from_array,
    from_arrow,
    meta_columns,
    parse_value,
    to_json_value,
    to_matrix,
    to_text,
)

AT_ONCE = 4096  # rows in memory at a time
EXPECTED = "a table of items"


class ItemTable(NamedTuple):
    """Items of a file.

    Attributes:
        ids: (N,) distinct ids.
        dim: D_old.
        meta: names of all other columns.
        items: function which yields the items.
    """

    ids: list[str]
    dim: int
    meta: list[str]
    items: Callable[[], Iterator[Item]]


def read(given: str) -> ItemTable:
    """Read the table in a file once, to its end.

    `.parquet` has columns `id`, `content` and `old` (a list of numbers), `.npz` arrays of these names, (N,), (N,) and
    (N, D_old). `.csv` has `id` and `content`, with the old embeddings in a .npy file of the same name beside it. All
    other columns but an index of pandas are meta; dates become text. In .csv a JSON number, true, false or null is
    parsed as one, as after --where.

    Raises:
        InputError: a missing or damaged file or another format, a missing column or one of another type, a repeated or
            empty id, no items.
    """
    path = Path(given)
    formats = {".parquet": from_parquet, ".npz": from_archive, ".csv": from_csv}
    if path.suffix not in formats:
        raise InputError(f"items: {given}, expected a file ending in .parquet, .npz or .csv")
    with readable("items", path, EXPECTED):
        table = formats[path.suffix](path)
    if not table.ids or not table.dim:
        raise InputError(f"items: {given} has {len(table.ids)} rows of {table.dim} numbers, expected items")
    seen: set[str] = set()
    for id in table.ids:
        if not id or id in seen:
            raise InputError(f"id: {id!r} {'twice' if id else 'is empty'} in {given}, expected each item once")
        seen.add(id)
    return table


def from_parquet(path: Path) -> ItemTable:
    """Read a Parquet file in parts."""
    ids: list[str] = []
    dims, meta = set(), []
    for columns, old in _read_parts(path):
        ids += map(to_text, columns["id"])
        dims.add(old.shape[1])
        meta = [name for name in columns if name not in NEEDED]
    if len(dims) > 1:
        found = " and ".join(map(str, sorted(dims)))
        raise InputError(f"old: rows of {found} numbers in {path}, expected as many in each")
    return ItemTable(
        ids, max(dims, default=0), meta, lambda: chain.from_iterable(starmap(make_items, _read_parts(path)))
    )


def _read_parts(path: Path) -> Iterator[tuple[dict[str, list[Any]], np.ndarray]]:
    """Yield columns and embeddings of a Parquet file, some rows at a time."""
    with parquet.open_file("items", path, EXPECTED) as file:
        meta = meta_columns(path, file.schema_arrow.names)
        check_types(path, file.schema_arrow)
        for batch in parquet.read_batches(file, AT_ONCE):
            yield {name: from_arrow(batch[name]) for name in ("id", "content", *meta)}, to_matrix(path, batch["old"])


def from_archive(path: Path) -> ItemTable:
    """Read an archive of arrays."""
    with Archive("items", path, EXPECTED) as file:
        meta = meta_columns(path, list(file))
        arrays = dict(file)
    old = check_rows(path, arrays["old"], len(arrays["id"]))
    for name, column in arrays.items():
        if name != "old" and column.shape != (len(old),):
            raise InputError(f"items: {name} of {path} has shape {column.shape}, expected ({len(old)},)")
    columns = {name: from_array(path, name, arrays[name]) for name in ("id", "content", *meta)}
    return ItemTable(list(map(to_text, columns["id"])), old.shape[1], meta, lambda: make_items(columns, old))


def from_csv(path: Path) -> ItemTable:
    """Read a CSV file and the .npy file beside it."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        names, *records = [cells for cells in csv.reader(file, strict=True) if cells] or [[]]
    meta = meta_columns(path, names, NEEDED[:2])
    if "old" in names:
        raise InputError(f"items: {path} has a column 'old', expected embeddings in {path.with_suffix('.npy')} alone")
    for number, cells in enumerate(records, start=1):
        if len(cells) != len(names):
            raise InputError(f"items: {path}, record {number} has {len(cells)} cells, expected {len(names)}")
    given = {name: [cells[at] for cells in records] for at, name in enumerate(names)}
    old = check_rows(path, read_npy("items", path.with_suffix(".npy"), mapped=True), len(records))
    columns = {
        name: given[name] if name in NEEDED else list(map(parse_value, given[name])) for name in (*NEEDED[:2], *meta)
    }
    return ItemTable(columns["id"], old.shape[1], meta, lambda: make_items(columns, old))


def make_items(columns: Mapping[str, Sequence[Any]], old: np.ndarray) -> Iterator[Item]:
    """Yield items of columns; all but `id` and `content` are meta."""
    meta = [name for name in columns if name not in NEEDED]
    for number, vector in enumerate(old):
        described = {name: to_json_value(columns[name][number]) for name in meta}
        with np.errstate(over="ignore"):  # the store refuses infinite values
            old_row = np.asarray(vector, np.float32)
        yield Item(to_text(columns["id"][number]), to_text(columns["content"][number]), described, old=old_row)


def check_rows(path: Path, old: np.ndarray, count: int) -> np.ndarray:
    """Check that a matrix has one row per item, and return it."""
    if old.ndim != 2 or len(old) != count or old.dtype.kind not in "iuf":
        raise InputError(f"items: embeddings {old.dtype} {old.shape} for {count} rows of {path}, expected ({count}, D)")
    warn_of_packed_bits("old", old.dtype)
    return old
