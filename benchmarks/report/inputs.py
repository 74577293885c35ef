"""The user's arrays for a report, checked before anything is computed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.embeddings.arguments import OPTIONAL, given_arrays
from benchmarks.embeddings.arrays import load_array
from benchmarks.embeddings.judgements import LABELS, check_judgements, load_judgements
from compat.errors import InputError

if TYPE_CHECKING:
    from compat.relevance import Relevance

IDS = ("query_ids_old", "query_ids_new", "gallery_ids_old", "gallery_ids_new")
FILES = ("train_old", "train_new", "scores", *IDS)


class Inputs(NamedTuple):
    """Arrays by name, memory-mapped; labels only if known, judgements only if given.

    Attributes:
        arrays: of `benchmarks.embeddings.arguments.ARRAYS`.
        others: the arrays of `FILES`.
        labelled: whether labels or judgements are known.
        relevance: the judgements, of all queries and items.
        trained_on: old embeddings of the training images, where they are known beside `others`.
    """

    arrays: dict[str, Any]
    others: dict[str, Any]
    labelled: bool
    relevance: Relevance | None = None
    trained_on: Any = None


def load(arguments: argparse.Namespace) -> Inputs:
    """Open the given files.

    Raises:
        InputError: an array missing, wrong, or inconsistent with another.
    """
    labelled = any(getattr(arguments, name) is not None for name in LABELS)
    files = given_arrays(arguments, OPTIONAL if labelled else (*OPTIONAL, *LABELS))
    arrays = {name: load_array(name, file) for name, file in files.items()}
    others = {name: load_array(name, value) for name in FILES if (value := getattr(arguments, name)) is not None}
    check_shapes(arrays)
    for time in ("query", "gallery"):
        check_ids(time, others, arrays)
    others |= training(others, arrays)
    if labelled:
        check_labels(arrays)
    if check_judgements(arguments):
        counts = len(arrays["query_new"]), len(arrays["gallery_new"])
        return Inputs(arrays, others, True, load_judgements(arguments, *counts))
    return Inputs(arrays, others, labelled)


def check_shapes(arrays: dict[str, Any]) -> None:
    """Raises InputError for arrays without rows, and for unequal numbers of rows of the same things."""
    for name, array in arrays.items():
        if len(array) == 0:
            raise InputError(f"{name}: no rows, expected at least one")
    for part in ("query", "gallery"):
        whole = f"{part}_new"
        for name, array in arrays.items():
            if name.startswith(part) and len(array) != len(arrays[whole]):
                raise InputError(f"{name}: {len(array)} rows, expected {len(arrays[whole])} as in {whole}")


def check_labels(arrays: dict[str, Any]) -> None:
    """Raises InputError for invalid labels, and for a single class, which makes everything relevant."""
    for name in LABELS:
        labels = np.asarray(arrays[name])
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            found = f"{labels.dtype}, shape {labels.shape}"
            raise InputError(f"{name}: {found}, expected integers, one for each row")
    if len(classes := np.unique(arrays["gallery_labels"])) == 1:
        found = f"one class ({classes[0]}), so that every item is relevant to every query of it"
        raise InputError(f"gallery_labels: {found}, expected two classes or more; without labels, leave them out")


def check_ids(part: str, others: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Compare the ids of the old file's rows with those of the new file's.

    Raises:
        InputError: one without the other, another number, text beside numbers, missing or rounded ids, different ids or
            another sequence.
    """
    old, new = f"{part}_ids_old", f"{part}_ids_new"
    given = [name for name in (old, new) if name in others]
    if not given:
        return
    if len(given) == 1:
        missing = old if given == [new] else new
        raise InputError(f"{missing}: not given beside {given[0]}, expected both or neither")
    for name in (old, new):
        if others[name].shape != (rows := (len(arrays[f"{part}_new"]),)):
            raise InputError(f"{name}: shape {tuple(others[name].shape)}, expected {rows}, an id for each row")
    a, b = (_ids(name, np.asarray(others[name])) for name in (old, new))
    if _family(a) != _family(b):
        raise InputError(f"{new}: {b.dtype}, expected {_family(a)} as in {old} ({a.dtype})")
    if a.dtype.kind != b.dtype.kind:  # NumPy would make floats of both
        a, b = a.astype(object), b.astype(object)
    differ = np.flatnonzero(a != b)
    if len(differ) == 0:
        return
    at = int(differ[0])
    how = "the same ids in another sequence" if np.array_equal(np.sort(a), np.sort(b)) else "other ids"
    raise InputError(
        f"{new}: {how} ({len(differ)} rows differ, first row {at}: {str(b[at])!r}, not {str(a[at])!r}), expected rows "
        f"of {part}_old and {part}_new to be of the same things"
    )


def _ids(name: str, ids: np.ndarray) -> np.ndarray:
    """Return exactly comparable ids (N,)."""
    if ids.dtype.kind == "V":
        raise InputError(f"{name}: {ids.dtype}, expected text or numbers")
    if len(missing := np.flatnonzero(ids != ids)):
        raise InputError(f"{name}: {ids[missing[0]]} in row {missing[0]}, expected an id in each row")
    if ids.dtype.kind == "f":
        bound = 2 ** (np.finfo(ids.dtype).nmant + 1)
        if len(far := np.flatnonzero(np.abs(ids) >= bound)):
            found = f"{ids[far[0]]} as {ids.dtype} in row {far[0]}, which is rounded"
            raise InputError(f"{name}: {found}, expected ids as integers or text")
    return ids


def _family(ids: np.ndarray) -> str:
    """Name the type of ids, which has to be equal in both files."""
    kinds = {"UT": "text", "iuf": "numbers", "S": "bytes", "M": "dates", "m": "durations", "b": "truth values"}
    return next((name for kind, name in kinds.items() if ids.dtype.kind in kind), str(ids.dtype))


def training(others: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the training pairs as tensors; empty without any.

    Raises:
        InputError: one side without the other, one of another shape, or with non-finite numbers.
    """
    given = [name for name in ("train_old", "train_new") if name in others]
    if not given:
        return {}
    if len(given) == 1:
        missing = "train_new" if given == ["train_old"] else "train_old"
        raise InputError(f"{missing}: not given beside {given[0]}, expected both or neither")
    for name in given:
        gallery = arrays[name.replace("train", "gallery")]
        if others[name].ndim != 2 or others[name].shape[1] != gallery.shape[1]:
            found = tuple(others[name].shape)
            raise InputError(f"{name}: shape {found}, expected {gallery.shape[1]} columns as in the gallery")
    if len(others["train_old"]) != len(others["train_new"]):
        sizes = f"{len(others['train_new'])} rows, expected {len(others['train_old'])} as in train_old"
        raise InputError(f"train_new: {sizes}")
    if len(others["train_old"]) < 2:
        raise InputError(f"train_old: {len(others['train_old'])} rows, expected two or more")
    from compat.embeddings import finite_matrix  # imports torch

    return {name: finite_matrix(name, others[name]) for name in given}


def check_size(asked: int | None, items: int) -> None:
    """Raises InputError for a real gallery smaller than the given sample."""
    if asked is not None and asked < items:
        raise InputError(f"gallery_size: {asked}, expected at least {items}, as many as there are here")


def names_of(path: str | None) -> list[str]:
    """Read class names from the lines of a text file in UTF-8: class 0, class 1 and so on; empty without a file.

    Raises:
        InputError: it cannot be read.
    """
    if path is None:
        return []
    return _lines("class_names", path)


def images_of(field: str, path: str | None, rows: int) -> list[Path]:
    """Return the image of each row: lines of a text file, relative to it, or the sorted, not hidden files of a folder.

    Raises:
        InputError: no such file or folder, an impossible path, or unequal numbers of images and rows.
    """
    if path is None:
        return []
    from compat.data.files import printable  # imports torch
    from compat.data.listing import files_below

    root = Path(path)
    if root.is_dir():
        try:
            found = sorted(root.joinpath(*parts) for parts in files_below(root, field))
        except OSError as error:
            raise InputError(f"{field}: {error}, expected a readable folder") from error
    else:
        found = [root.parent / line for line in _lines(field, path)]
    for number, image in enumerate(found, start=1):
        try:
            image.is_file()
        except (OSError, ValueError) as error:  # a name too long, or with a null; a closed folder
            reason = getattr(error, "strerror", None) or str(error)
            named = printable(str(image))[:80]
            raise InputError(
                f"{field}: image {number} of {path}, {named} ({reason}), expected a file's path"
            ) from error
    if len(found) != rows:
        raise InputError(f"{field}: {path} has {len(found)} images, expected {rows}, one for each row")
    return found


def _lines(field: str, path: str) -> list[str]:
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{field}: {path} ({error}), expected a text file with a line for each") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return lines
