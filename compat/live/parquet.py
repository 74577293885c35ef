"""Parquet files, read in batches with verified checksums; damage is reported in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compat.arrays import readable
from compat.errors import InputError


def import_pyarrow() -> Any:
    """Import `pyarrow` and `pyarrow.parquet`.

    Raises:
        InputError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("pyarrow: not installed, expected it: pip install compat-bench[parquet]") from error
    return pyarrow


@contextmanager
def open_file(field: str, path: str | Path, expected: str = "a whole parquet file") -> Iterator[Any]:
    """Open a file as a `pyarrow.parquet.ParquetFile`.

    Args:
        field: field for which the file is given.
        path: path of the file.
        expected: end of the error message.

    Raises:
        InputError: the file is unreadable, damaged or of another format, including damage found while it is open;
            pyarrow is not installed.
    """
    pyarrow = import_pyarrow()
    with readable(field, path, expected), pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
        yield file


def read_batches(file: Any, count: int, columns: list[str] | None = None) -> Iterator[Any]:
    """Yield all rows of an open file, at most `count` at a time, with their text checked as UTF-8.

    Raises:
        ValueError: a wrong number of rows, or text which is not UTF-8.
    """
    read = 0
    for batch in file.iter_batches(count, columns=columns):
        batch.validate(full=True)
        read += len(batch)
        if len(batch):
            yield batch
    if read != file.metadata.num_rows:
        raise ValueError(f"{read} of {file.metadata.num_rows} rows")
