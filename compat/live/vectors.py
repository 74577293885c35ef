"""Files of vectors from another engine: parquet, read in batches and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compat.errors import InputError
from compat.live import parquet
from compat.live.extraction import Extraction
from compat.live.items import Journal

COLUMNS = ("id", "version", "migration", "vector")
VERSIONS = 2**63  # above any version


def migration_stamp(journal: Journal) -> str:
    """Return the name of a migration in the rows of its files: its number and a digest of its fingerprint.

    It is a column, as some engines drop a file's metadata.
    """
    fingerprint = json.dumps(dict(journal.fingerprint), sort_keys=True)
    return f"{journal.migration} {hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}"


def list_files(path: str | Path) -> list[Path]:
    """List a file, or the parquet files of a folder by name.

    Raises:
        InputError: there are none.
    """
    found = sorted(Path(path).glob("*.parquet")) if Path(path).is_dir() else [Path(path)]
    if not found or not found[0].is_file():
        raise InputError(f"vectors: {path}, expected a parquet file or a folder of such")
    return found


def read_batches(file: Path, count: int, dim: int, migration: str) -> Iterator[Extraction]:
    """Yield the rows of a file, at most `count` at a time.

    Columns: `id`, `version` and `migration` as in the manifest, `vector` (a list of floats), and for unreadable items
    `failure` (the reason, null for all others).

    Args:
        file: the file.
        count: rows per batch.
        dim: D_new.
        migration: stamp of the migration.

    Raises:
        InputError: a file which is damaged, lacks a column or is of another migration; a row with neither a finite
            vector (D_new,) nor a failure.
    """
    with parquet.open_file("vectors", file) as its:
        names = its.schema_arrow.names
        if missing := [name for name in COLUMNS if name not in names]:
            raise InputError(f"{missing[0]}: no such column in {file}, expected {', '.join(COLUMNS)}")
        for batch in parquet.read_batches(its, count, [name for name in (*COLUMNS, "failure") if name in names]):
            if of := set(batch.column("migration").to_pylist()) - {migration}:
                found = " and ".join(sorted(map(repr, of)))
                raise InputError(f"migration: {found} in {file}, expected {migration!r} as the store has it")
            yield _check_batch(batch, dim, file)


def _check_batch(batch: Any, dim: int, file: Path) -> Extraction:
    ids, versions = (batch.column(name).to_pylist() for name in ("id", "version"))
    strange = [("id", id) for id in ids if type(id) is not str]
    strange += [("version", version) for version in versions if type(version) is not int or version >= VERSIONS]
    for name, value in strange:
        raise InputError(f"{name}: {value!r} in {file}, expected it as the manifest has it")
    failures = batch.column("failure").to_pylist() if "failure" in batch.schema.names else [None] * len(ids)
    there = batch.column("vector").is_valid().to_pylist()
    for id, vector, failure in zip(ids, there, failures, strict=True):
        if vector == (failure is not None):
            raise InputError(f"vector: of item {id!r} in {file}, expected either one or a failure")
    read = [row for row, vector in enumerate(there) if vector]
    vectors = _to_matrix(batch.column("vector").drop_null(), [ids[row] for row in read], dim, file)
    return Extraction(
        [(ids[row], versions[row], vector) for row, vector in zip(read, vectors, strict=True)],
        [(ids[row], versions[row], str(failures[row])) for row, vector in enumerate(there) if not vector],
    )


def _to_matrix(column: Any, ids: Sequence[str], dim: int, file: Path) -> np.ndarray:
    """Convert a column of lists without nulls to a matrix (N, D_new) float32."""
    pyarrow = parquet.import_pyarrow()
    if not ids:
        return np.zeros((0, dim), np.float32)
    inner = getattr(column.type, "value_type", pyarrow.null())
    if not pyarrow.types.is_floating(inner):
        raise InputError(f"vector: of type {column.type} in {file}, expected lists of floats")
    flat = column.flatten().to_numpy(zero_copy_only=False)
    lengths = np.array([len(row) for row in column])
    if (lengths != dim).any():
        row = int((lengths != dim).argmax())
        raise InputError(f"vector: {lengths[row]} values of item {ids[row]!r} in {file}, expected {dim}")
    with np.errstate(over="ignore"):
        rows = flat.astype(np.float32).reshape(-1, dim)
    if not (finite := np.isfinite(rows).all(1)).all():
        id = ids[int(finite.argmin())]
        raise InputError(f"vector: NaN or infinite values of item {id!r} in {file}, expected finite ones")
    return rows
