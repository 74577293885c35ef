"""Conversion of a table's columns to Python values: text, numbers, true, false, None; dates become text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compat.arrays import warn_of_packed_bits
from compat.errors import InputError

NEEDED = ("id", "content", "old")
INDEX = re.compile(r"|__index_level_\d+__")  # as pandas calls its index in .csv and .parquet
ATTOSECONDS = {"W": 7 * 86400 * 10**18, "D": 86400 * 10**18, "h": 3600 * 10**18, "m": 60 * 10**18} | {
    unit: 1000 ** (6 - power) for power, unit in enumerate(("s", "ms", "us", "ns", "ps", "fs", "as"))
}  # of duration units; years and months have no fixed length
NAMES = "expected text or whole numbers (pandas makes floats of whole numbers where one is missing)"


def meta_columns(path: Path, names: Sequence[str], needed: Sequence[str] = NEEDED) -> list[str]:
    """Return the names of all columns which are neither required nor an index of pandas.

    Raises:
        InputError: a missing or repeated column.
    """
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"items: {path} has {twice[0]!r} twice, expected each column once")
    for name in needed:
        if name not in names:
            raise InputError(f"items: {path} has columns {', '.join(names)}, expected {name} among them")
    return [name for name in names if name not in NEEDED and not INDEX.fullmatch(name)]


def from_array(path: Path, name: str, column: np.ndarray) -> list[Any]:
    """Convert an array (N,) to values.

    Raises:
        InputError: bytes, complex or extended numbers, durations in years, in months or without a unit; ids or contents
            which are neither text nor integers.
    """
    kind = column.dtype
    if name in NEEDED and kind.kind not in "Uiu":
        raise InputError(f"{name}: of type {kind} in {path}, {NAMES}")
    if kind.kind in "SVc" or (kind.kind == "f" and kind.itemsize > 8):
        raise InputError(f"{name}: of type {kind} in {path}, expected text or numbers")
    if kind.kind == "m" and np.datetime_data(kind)[0] not in ATTOSECONDS:
        raise InputError(f"{name}: of type {kind} in {path}, expected durations in days or in smaller units")
    return format_times(column) if kind.kind in "mM" else column.tolist()


def format_times(column: np.ndarray, zone: str = "") -> list[str | None]:
    """Format dates, times and durations (N,) as text, independent of their unit; missing ones become None.

    Example:
        >>> format_times(np.array(["2020-01-01", "2020-01-01T12:30"], "M8[ns]"))
        ['2020-01-01', '2020-01-01T12:30']
        >>> format_times(np.array([90, "NaT"], "m8[s]"))
        ['0:01:30', None]
    """
    if column.dtype.kind == "m":
        unit, count = np.datetime_data(column.dtype)
        missing, size = np.isnat(column).tolist(), count * ATTOSECONDS[unit]
        given = zip(column.astype(np.int64).tolist(), missing, strict=True)
        return [None if absent else format_duration(size * one) for one, absent in given]
    texts = np.datetime_as_string(column, unit="auto").tolist()
    return [None if text == "NaT" else text + zone for text in texts]


def format_duration(attoseconds: int) -> str:
    """Format a duration like Python's timedelta, exactly and for any length.

    Example:
        >>> [format_duration(seconds) for seconds in (10**18 * 86400 * 10**10, -(10**18), 10**9)]
        ['10000000000 days, 0:00:00', '-1 day, 23:59:59', '0:00:00.000000001']
    """
    seconds, fraction = divmod(attoseconds, 10**18)
    days, seconds = divmod(seconds, 86400)
    text = f"{days} day{'' if abs(days) == 1 else 's'}, " if days else ""
    text += f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    digits = f"{fraction:018}".rstrip("0")
    return f"{text}.{digits:0<6}" if digits else text


def check_types(path: Path, schema: Any) -> None:
    """Refuse parquet columns which cannot be converted to items.

    Raises:
        InputError: ids or contents which are neither text nor integers, bytes, embeddings which are no lists of
            numbers.
    """
    from pyarrow import types

    for name, kind in zip(schema.names, schema.types, strict=True):
        inner = kind.value_type if types.is_dictionary(kind) else kind
        if _holds_bytes(kind):
            raise InputError(f"{name}: of type {kind} in {path}, expected text")
        strange = (types.is_floating, types.is_decimal, types.is_boolean, types.is_temporal, types.is_nested)
        if name in ("id", "content") and any(test(inner) for test in strange):
            raise InputError(f"{name}: of type {kind} in {path}, {NAMES}")
        lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        if name == "old" and not (lists and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))):
            raise InputError(f"old: of type {kind} in {path}, expected lists of numbers")
        if name == "old":
            warn_of_packed_bits(name, kind.value_type)


def _holds_bytes(kind: Any) -> bool:
    """Return whether an Arrow type is bytes or contains bytes."""
    parts = [kind.field(at).type for at in range(kind.num_fields)] or [getattr(kind, "value_type", None)]
    return any(map(_holds_bytes, parts)) if parts[0] is not None else "binary" in str(kind)


def from_arrow(column: Any) -> list[Any]:
    """Convert a column of a parquet file (N,) to values."""
    from pyarrow import types

    kind = column.type
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_duration(kind):
        return format_times(column.to_numpy(zero_copy_only=False), "Z" if getattr(kind, "tz", None) else "")
    return column.to_pylist()


def to_matrix(path: Path, column: Any) -> np.ndarray:
    """Convert a column of a parquet file to embeddings (N, D).

    Raises:
        InputError: rows of several lengths, or a missing row.
    """
    from pyarrow.compute import list_value_length

    lengths = set(list_value_length(column).to_pylist())
    if column.null_count or len(lengths) > 1:
        found = " and ".join(sorted(str(length or "no") for length in lengths))
        raise InputError(f"old: rows of {found} numbers in {path}, expected as many in each")
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), *lengths or (0,))


def parse_value(given: str) -> Any:
    """Parse a number, true, false, null or a quoted string as in JSON; other text is returned unchanged.

    So are numbers outside 64 bits.

    Example:
        >>> [parse_value(given) for given in ("2020", "en", '"2020"', "007", "true", "NaN")]
        [2020, 'en', '2020', '007', True, 'NaN']
    """
    try:
        found = json.loads(given, parse_constant=str)
    except (ValueError, RecursionError):
        return given
    far = isinstance(found, (int, float)) and not -(2**63) <= found < 2**63
    return given if far or isinstance(found, (dict, list)) else found


def to_json_value(found: Any) -> Any:
    """Convert a value of `meta` to JSON: unknown types, such as times, become text, and NaN becomes None."""
    if isinstance(found, float) and not math.isfinite(found):
        return None
    return found if found is None or isinstance(found, (str, int, float, bool)) else str(found)


def to_text(found: Any) -> str:
    """Convert an id or content to text; None becomes empty."""
    return "" if found is None else str(found)
