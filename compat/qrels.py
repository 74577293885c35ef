"""Read judgements of relevance from files: qrels of TREC, BEIR's qrels/*.tsv, and Parquet. Rows are counted from 1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from compat.arrays import read_npy, readable
from compat.errors import InputError
from compat.relevance import MOST, OtherGrade, Relevance, check_min_grade, check_pairs

EXPECTED = "judgements: query, item and grade, or query, 0, item and grade, in text or .parquet"
SHOWN = 60  # characters of a cell in an error
IDS = "ids, one a line of text, or in .npy or .parquet"
NAMES = {
    "query": ("query-id", "query", "qid", "topic"),
    "item": ("corpus-id", "doc-id", "docid", "docno", "item-id", "item", "document-id", "document", "pid"),
    "grade": ("score", "grade", "relevance", "rel", "label"),
}


class Judgement(NamedTuple):
    """A row of a file: its number, and its cells as text."""

    row: int
    query: str
    item: str
    grade: str


def read_qrels(
    path: str | Path,
    query_ids: Sequence[str],
    gallery_ids: Sequence[str],
    min_grade: int = 1,
    field: str = "qrels",
) -> Relevance:
    """Read judgements, with ids in place of row numbers.

    Text has three columns (query, item, grade) or four (query, a number not read, item, grade), between tabs or
    spaces, with a header or none. A Parquet file has columns of such names as query-id, corpus-id and score. Ids are
    compared as text.

    Args:
        path: of the file.
        query_ids: (Q,) the id of each query, see `read_ids`.
        gallery_ids: (G,) the id of each item.
        min_grade: the lowest grade of a relevant item.
        field: the option or field naming the file.

    Raises:
        InputError: an unreadable file, a row with another number of columns, an unknown id, a negative or fractional
            grade, a pair with two grades; always with the row's number. A threshold above all grades.
    """
    places = [{id: row for row, id in enumerate(ids)} for ids in (query_ids, gallery_ids)]
    rows = _of_parquet(field, path) if str(path).endswith(".parquet") else _of_text(field, path)
    found: list[tuple[int, int, int, int]] = []
    for judgement in rows:
        grade = _grade(field, judgement)  # first: a header with other names has none
        at = [
            _place(field, judgement.row, kind, id, known)
            for kind, id, known in zip(("query", "item"), judgement[1:3], places, strict=True)
        ]
        found.append((judgement.row, *at, grade))  # type: ignore[arg-type]
    if not found:
        raise InputError(f"{field}: {path} has no judgement, expected at least one")
    row, query, item, grade = np.array(found, np.int64).T
    try:
        check_pairs(query, item, grade, len(gallery_ids))
    except OtherGrade as error:
        one, two = error.first, error.second
        pair = f"query {query_ids[query[two]]!r} and item {gallery_ids[item[two]]!r}"
        both = f"grade {grade[two]} in row {row[two]} for {pair}, {grade[one]} in row {row[one]}"
        raise InputError(f"{field}: {both}, expected one grade for a pair") from None
    check_min_grade(min_grade, grade)
    return Relevance(query, item, grade, shape=(len(query_ids), len(gallery_ids)), min_grade=min_grade)


def read_ids(field: str, path: str | Path, rows: int | None = None) -> list[str]:
    """Read an id for each row: lines of a text file, a .npy array, or the column of a .parquet file, as text.

    Args:
        field: the option or field naming the file.
        path: of the file.
        rows: how many are expected.

    Raises:
        InputError: an unreadable file, ids neither whole numbers nor text, an empty id or one given twice, another
            number of them.
    """
    if str(path).endswith(".npy"):
        ids = _texts(field, read_npy(field, path, expected=IDS))
    elif str(path).endswith(".parquet"):
        ids = _column_of_ids(field, path)
    else:
        ids = [line.strip() for line in _lines(field, path, IDS)]
    if rows is not None and len(ids) != rows:
        raise InputError(f"{field}: {len(ids)} ids in {path}, expected {rows}, one for each row")
    known: dict[str, int] = {}
    for row, id in enumerate(ids, 1):
        if not id:
            raise InputError(f"{field}: no id in row {row} of {path}, expected one")
        if id in known:
            raise InputError(f"{field}: {_cut(id)} in row {row} of {path} as in row {known[id]}, expected each id once")
        known[id] = row
    return ids


def _place(field: str, row: int, kind: str, id: str, known: dict[str, int]) -> int:
    """Return the row number of an id."""
    if id not in known:
        such = _cut(next(iter(known), "none"))
        expected = f"one of the {kind} ids, as {such}"
        raise InputError(f"{field}: {kind} {_cut(id)} in row {row} is unknown, expected {expected}")
    return known[id]


def _grade(field: str, judgement: Judgement) -> int:
    """Return a whole grade; 1.0 is one."""
    try:
        value = float(judgement.grade)
    except ValueError:
        value = math.nan
    if not (0 <= value <= MOST and value.is_integer()):
        found = f"grade {_cut(judgement.grade)} in row {judgement.row}"
        header = " or a header of query-id, corpus-id and score" if judgement.row == 1 and math.isnan(value) else ""
        raise InputError(f"{field}: {found}, expected a whole number of 0 or more{header}")
    return int(value)


def _cut(cell: str) -> str:
    """Quote a cell, only the start of a long one."""
    return repr(cell if len(cell) <= SHOWN else f"{cell[:SHOWN]}…")


def _lines(field: str, path: str | Path, expected: str) -> list[str]:
    """Return the lines of a text file in UTF-8, without blank ones at the end."""
    with readable(field, path, expected):
        try:
            text = Path(path).read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError("no text in UTF-8") from error
        lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _of_text(field: str, path: str | Path) -> Iterator[Judgement]:
    order: list[int] | None = None
    columns = first = 0
    for row, line in enumerate(_lines(field, path, EXPECTED), 1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) not in (3, 4):
            cells = line.split()
        if len(cells) not in (3, 4) or (columns and len(cells) != columns):
            expected = f"{columns} as in row {first}" if columns else "3 or 4, between tabs or spaces"
            raise InputError(f"{field}: {len(cells)} columns in row {row} of {path}, expected {expected}")
        if order is None:
            columns, first = len(cells), row
            order = [0, columns - 2, columns - 1]
            if named := _order(cells):
                order = named
                continue
        query, item, grade = (cells[place] for place in order)
        yield Judgement(row, query, item, grade)


def _order(names: Sequence[str]) -> list[int] | None:
    """Return the columns of query, item and grade by a header; None if this is none."""
    known = [name.lower().replace("_", "-") for name in names]
    places = [next((known.index(name) for name in those if name in known), None) for those in NAMES.values()]
    return None if None in places else places  # type: ignore[return-value]


def _of_parquet(field: str, path: str | Path) -> Iterator[Judgement]:
    from compat.live.parquet import open_file, read_batches

    row = 0
    with open_file(field, path, EXPECTED) as file:
        names = file.schema_arrow.names
        order = _order(names)
        if order is None:
            raise InputError(f"{field}: columns {', '.join(names)} in {path}, expected query-id, corpus-id and score")
        for batch in read_batches(file, 2**16, [names[place] for place in order]):
            columns = [batch.column(names[place]) for place in order]
            for kind, column in zip(("query", "item"), columns[:2], strict=True):
                _check_type(field, f"{kind} ids in {path}", str(column.type))
            for cells in zip(*(column.to_pylist() for column in columns), strict=True):
                row += 1
                if None in cells:
                    raise InputError(f"{field}: an empty cell in row {row} of {path}, expected query, item and grade")
                yield Judgement(row, *(str(cell) for cell in cells))


def _column_of_ids(field: str, path: str | Path) -> list[str]:
    from compat.live.parquet import open_file, read_batches

    with open_file(field, path, IDS) as file:
        names = file.schema_arrow.names
        name = next((name for name in ("_id", "id", "ids") if name in names), names[0] if len(names) == 1 else None)
        if name is None:
            raise InputError(f"{field}: columns {', '.join(names)} in {path}, expected one, or one named id")
        _check_type(field, f"ids in {path}", str(file.schema_arrow.field(name).type))
        found = [cell for batch in read_batches(file, 2**16, [name]) for cell in batch.column(name).to_pylist()]
    return ["" if cell is None else str(cell) for cell in found]


def _check_type(field: str, what: str, kind: str) -> None:
    if not kind.startswith(("int", "uint", "string", "large_string", "dictionary")):
        raise InputError(f"{field}: {what} of type {kind}, expected text or whole numbers")


def _texts(field: str, ids: np.ndarray) -> list[str]:
    if ids.ndim != 1 or ids.dtype.kind not in "iuUS":
        raise InputError(
            f"{field}: {ids.dtype} of shape {ids.shape}, expected text or whole numbers, an id for each row"
        )
    return [id.decode("utf-8", "replace") if isinstance(id, bytes) else str(id) for id in ids.tolist()]
