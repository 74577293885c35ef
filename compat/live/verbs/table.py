"""A table of items in files: ids, contents, old embeddings, and what queries may be filtered by."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from compat.errors import InputError
from compat.live.items import Item

NEEDED = ("id", "content", "old")
AT_ONCE = 4096  # rows that are in memory at a time


class Table(NamedTuple):
    """Items of a file.

    Attributes:
        ids: (N,) of them, no two alike.
        dim: D_old.
        meta: names of all other columns.
        items: reads them.
    """

    ids: list[str]
    dim: int
    meta: list[str]
    items: Callable[[], Iterator[Item]]


def read(given: str) -> Table:
    """The table in a file.

    `.parquet` has columns `id`, `content` and `old` (a list of numbers), `.npz` arrays of these names, (N,), (N,) and
    (N, D_old). `.csv` has `id` and `content`, and its old embeddings are in the .npy file beside it that is called the
    same. All other columns are meta. In .csv what reads as a JSON number, true, false or null is one, as after --where.

    Raises:
        InputError: no such file, another format, a column that is missing, an id twice or empty, no items.
    """
    path = Path(given)
    formats = {".parquet": parquet, ".npz": archive, ".csv": plain}
    if path.suffix not in formats:
        raise InputError(f"items: {given}, expected a file that ends in .parquet, .npz or .csv")
    try:
        table = formats[path.suffix](path)
    except InputError:
        raise
    except (OSError, EOFError, ValueError, TypeError, BadZipFile, csv.Error) as error:
        raise InputError(f"items: {given} ({' '.join(str(error).split())}), expected a table of items") from error
    if not table.ids or not table.dim:
        raise InputError(f"items: {given} has {len(table.ids)} rows of {table.dim} numbers, expected items")
    seen: set[str] = set()
    for id in table.ids:
        if not id or id in seen:
            raise InputError(f"id: {id!r} {'twice' if id else 'is empty'} in {given}, expected each item once")
        seen.add(id)
    return table


def parquet(path: Path) -> Table:
    """Of a Parquet file, which is read in parts."""
    try:
        from pyarrow import ArrowException, types
        from pyarrow.compute import list_value_length
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError("items: .parquet needs pyarrow, expected pip install compat-bench[parquet]") from error
    try:
        file = ParquetFile(path)
    except ArrowException as error:
        raise ValueError(str(error)) from error
    names = file.schema_arrow.names
    check_columns(path, names, NEEDED)
    kind = file.schema_arrow.field("old").type
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not lists or not (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)):
        raise InputError(f"old: of type {kind} in {path}, expected lists of numbers")
    for name in ("id", "content"):
        kind = file.schema_arrow.field(name).type
        if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
            raise InputError(f"{name}: of type {kind} in {path}, expected text")
    first = next(file.iter_batches(1, columns=["old"]), None)
    ids = [text(id) for batch in file.iter_batches(columns=["id"]) for id in batch["id"].to_pylist()]
    dim = 0 if first is None else len(first["old"][0].as_py() or ())
    meta = [name for name in names if name not in NEEDED]

    def items() -> Iterator[Item]:
        for batch in file.iter_batches(AT_ONCE):
            columns = {name: batch[name].to_pylist() for name in ("id", "content", *meta)}
            if batch["old"].null_count or set(list_value_length(batch["old"]).to_pylist()) != {dim}:
                raise InputError(
                    f"old: rows of other lengths than {dim}, or none, in {path}, expected {dim} numbers each"
                )
            old = batch["old"].flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
            yield from rows(columns, meta, iter(old))

    return Table(ids, dim, meta, items)


def archive(path: Path) -> Table:
    """Of an archive of arrays."""
    with np.load(path) as file:
        check_columns(path, file.files, NEEDED)
        columns = {name: file[name] for name in file.files}
    old = check_rows(path, columns.pop("old"), len(columns["id"]))
    for name, column in columns.items():
        if column.dtype.kind in "SVc":
            raise InputError(f"items: {name} of {path} is of type {column.dtype}, expected text or numbers")
        if column.shape != (len(old),):
            raise InputError(f"items: {name} of {path} has shape {column.shape}, expected ({len(old)},)")
    values = {name: column.tolist() for name, column in columns.items()}
    meta = [name for name in values if name not in NEEDED]
    return Table(list(map(text, values["id"])), old.shape[1], meta, lambda: rows(values, meta, iter(old)))


def plain(path: Path) -> Table:
    """Of a CSV file and the .npy file beside it."""
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, restkey="", restval=None)
        records = list(reader)
        names = list(reader.fieldnames or ())
    check_columns(path, names, NEEDED[:2])
    for line, record in enumerate(records, start=2):
        if "" in record or None in record.values():
            raise InputError(f"items: {path}, record {line - 1} has another number of cells, expected {len(names)}")
    old = check_rows(path, np.load(path.with_suffix(".npy"), mmap_mode="r"), len(records))
    meta = [name for name in names if name not in NEEDED]
    values = {name: [record[name] for record in records] for name in ("id", "content")}
    values |= {name: [value(record[name]) for record in records] for name in meta}
    return Table(values["id"], old.shape[1], meta, lambda: rows(values, meta, iter(old)))


def rows(columns: dict[str, list[Any]], meta: Sequence[str], old: Iterator[np.ndarray]) -> Iterator[Item]:
    """Items of some columns."""
    for number, vector in enumerate(old):
        described = {name: storable(columns[name][number]) for name in meta}
        with np.errstate(over="ignore"):  # the store refuses what is infinite
            old_row = np.asarray(vector, np.float32)
        yield Item(text(columns["id"][number]), text(columns["content"][number]), described, old=old_row)


def check_columns(path: Path, names: Sequence[str], needed: Sequence[str]) -> None:
    """Raises InputError for a column that is missing, or there twice."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"items: {path} has {twice[0]!r} twice, expected each column once")
    for name in needed:
        if name not in names:
            raise InputError(f"items: {path} has columns {', '.join(names)}, expected {name} among them")


def check_rows(path: Path, old: np.ndarray, count: int) -> np.ndarray:
    """The matrix, if it is one of a row for each item."""
    if old.ndim != 2 or len(old) != count or old.dtype.kind not in "iuf":
        raise InputError(f"items: embeddings {old.dtype} {old.shape} for {count} rows of {path}, expected ({count}, D)")
    return old


def value(given: str) -> Any:
    """What a text stands for: a number, true, false, null or a quoted string as in JSON; anything else is itself.

    So are numbers that have no place in 64 bits.

    Example:
        >>> [value(given) for given in ("2020", "en", '"2020"', "007", "true", "NaN")]
        [2020, 'en', '2020', '007', True, 'NaN']
    """
    try:
        found = json.loads(given, parse_constant=str)
    except ValueError:
        return given
    far = isinstance(found, (int, float)) and not -(2**63) <= found < 2**63
    return given if far or isinstance(found, (dict, list)) else found


def storable(found: Any) -> Any:
    """A value of `meta` as JSON has it: what it does not know, such as a date, as text, and NaN as nothing."""
    if isinstance(found, float) and not math.isfinite(found):
        return None
    return found if found is None or isinstance(found, (str, int, float, bool)) else str(found)


def text(found: Any) -> str:
    """An id or a content; nothing is an empty one."""
    return "" if found is None else str(found)
