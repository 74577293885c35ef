"""Arguments of commands reading embeddings from files."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.embeddings.arrays import check_array
from benchmarks.embeddings.judgements import LABELS, check_judgements
from compat.errors import InputError

ARRAYS = (
    "query_old", "query_new", "gallery_old", "gallery_new", "query_labels", "gallery_labels", "query_groups",
    "gallery_groups",
)  # fmt: skip
OPTIONAL = ("query_old", "query_groups", "gallery_groups")
MOST_SEEDS = 1000


def given_arrays(arguments: argparse.Namespace, optional: Collection[str] = OPTIONAL) -> dict[str, str]:
    """Return the files of the arrays, by name; with judgements, labels are not among them.

    Args:
        arguments: of the command.
        optional: arrays not required.

    Raises:
        InputError: a required array is not given, or its file is missing; wrong options for judgements.
    """
    given = {name: value for name in ARRAYS if (value := getattr(arguments, name)) is not None}
    unneeded = (*optional, *LABELS) if check_judgements(arguments) else optional
    for name in ARRAYS:
        if name not in given and name not in unneeded:
            raise InputError(f"{name}: not given, expected --{name.replace('_', '-')} FILE")
    if "query_old" not in given and arguments.transform is None:
        raise InputError("query_old: not given, expected --query-old FILE, or --transform to make it from query_new")
    for name, value in given.items():
        check_array(name, value)
    return given


def check_seeds(seeds: int) -> None:
    """Raises InputError for no random order, and for an unreasonable number."""
    if not 1 <= seeds <= MOST_SEEDS:
        raise InputError(f"seeds: {seeds}, expected {'at least 1' if seeds < 1 else f'at most {MOST_SEEDS}'}")


def check_folder(folder: Path) -> None:
    """Raises InputError for an unwritable folder of results; leaves nothing behind."""
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with TemporaryDirectory(prefix=".", dir=there):
            pass
    except OSError as error:
        raise InputError(f"output: {folder} ({error.strerror}), expected a writable folder") from error
