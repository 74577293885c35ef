"""Figures of each query, for paired comparisons: queries.npz holds an array for each row of the table, or seed of one.

An entry is named by its labels, label=value joined by commas; seed=0+1+2 is the mean over these seeds. A query's value
is a byte, in 250ths, 255 for a query without a positive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from compat.arrays import Archive
from compat.errors import InputError
from compat.files import replace
from compat.results.result import Labels, Result

QUERIES = "queries.npz"
UNITS, NONE = 250, 255


def entry_name(labels: Labels, seeds: Iterable[str]) -> str:
    """Return the name of an array in the file."""
    return ",".join(f"{k}={'+'.join(seeds) if k == 'seed' else v}" for k, v in sorted(labels.items()))


def _parts(name: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in name.split(","))


def _covers(name: str, labels: Labels) -> bool:
    parts = _parts(name)
    seeds = parts.pop("seed", "").split("+")
    return str(labels["seed"]) in seeds and parts == {k: str(v) for k, v in labels.items() if k != "seed"}


def encode(values: np.ndarray) -> np.ndarray:
    """Encode (Q,) areas as (Q,) bytes; each rounding error is carried to the next query, so the mean stays."""
    none = np.isnan(values)
    units = np.diff(np.round(np.cumsum(np.nan_to_num(values)) * UNITS), prepend=0)
    return np.where(none, NONE, units).astype(np.uint8)


def decode(units: np.ndarray) -> np.ndarray:
    """Decode (Q,) bytes to (Q,) areas, NaN for a query without a positive."""
    return np.where(units == NONE, np.nan, units / UNITS)


@contextmanager
def _entries(folder: Path) -> Iterator[Mapping[str, np.ndarray]]:
    path = folder / QUERIES
    try:
        if path.exists():
            with Archive("queries", path) as entries:
                yield entries
        else:
            yield {}
    except ValueError as error:
        why = type(error.__cause__ or error).__name__
        raise InputError(f"{path}: damaged ({why}), expected an array of bytes for each row") from error


def read(folder: Path) -> dict[str, np.ndarray]:
    """Read all entries, encoded; none without a file.

    Raises:
        InputError: the file is damaged.
    """
    with _entries(folder) as entries:
        return {name: entries[name] for name in entries}


def merge(folder: Path, areas: Iterable[tuple[Labels, np.ndarray | None]]) -> None:
    """Put each query's areas (Q,) of some results into the file; None where a result has none.

    An entry with the mean over several seeds is removed when one of them gets another value.
    """
    entries = read(folder)
    before = set(entries)
    given = list(areas)
    for labels, _ in given:
        for name in [name for name in entries if _covers(name, labels)]:
            del entries[name]
    entries |= {entry_name(k, [str(k["seed"])]): encode(v) for k, v in given if v is not None}
    if entries or before:
        write(folder, entries)


def write(folder: Path, entries: Mapping[str, np.ndarray]) -> None:
    """Write all entries, encoded, through a temporary file."""

    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **{name: entries[name] for name in sorted(entries)})  # type: ignore[arg-type]

    replace(folder / QUERIES, save)


def load_query_auc(folder: str | Path, result: Result) -> np.ndarray | None:
    """Load each query's area (Q,) float64, NaN without a positive; the mean over seeds if only it was kept.

    None where none was saved.

    Raises:
        InputError: the file is damaged.
    """
    with _entries(Path(folder)) as entries:
        found = next((name for name in entries if _covers(name, result.labels)), None)
        return None if found is None else decode(entries[found])
