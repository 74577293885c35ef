"""What every adapter refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from compat.errors import InputError
from compat.live.items import Item, Journal, Report
from compat.live.store import Conflict, Where


def check_fields(where: Where | None, journal: Journal) -> Where:
    """The filter, once its fields are known to be the store's; NumPy's scalars become Python's.

    Raises:
        InputError: one is not; a value that no store compares.
    """
    if where is not None and not isinstance(where, Mapping):
        raise InputError(f"where: {where!r}, expected field -> value")
    found = {}
    for name, value in (where or {}).items():
        if name not in journal.fields:
            known = ", ".join(journal.fields) or "no filter, as the store was made without fields"
            raise InputError(f"where: {name!r}, expected {known}")
        found[name] = value.item() if isinstance(value, np.generic) else value
        if not isinstance(found[name], str | int | float | None) or _is_large(found[name]):
            raise InputError(f"where: {name} = {value!r}, expected text, a number below 2^63, true, false or None")
        if isinstance(value, str) and not _is_text(value):
            raise InputError(f"where: {name} = {value!r} is not UTF-8, expected text")
    return found


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_large(value: object) -> bool:
    return isinstance(value, int | float) and not abs(value) < 2**63


def check_adding(journal: Journal) -> None:
    """Refuse items with nothing but an old embedding where that does not serve.

    Raises:
        InputError: a migration runs, or was finalized.
    """
    if journal.phase not in ("none", "planned", "rolled_back"):
        found = f"migration {journal.migration} is {journal.phase}"
        raise InputError(f"add: {found}, expected phase none, planned or rolled_back: `Writer.put` writes in any phase")


def check_way(journal: Journal, during: Journal | None) -> None:
    """Refuse queries that were made for another way of serving.

    Raises:
        Conflict: they were.
    """
    if during is not None and journal.serving_key != during.serving_key:
        raise Conflict


def check_moment(journal: Journal, during: Journal) -> None:
    """Refuse what was made for another migration, or by what was learned before.

    Raises:
        Conflict: it was.
    """
    if (journal.migration, journal.learned) != (during.migration, during.learned):
        raise Conflict


def check_text(name: str, value: str, where: str = "") -> str:
    """The id or the content of an item, if every store can hold it.

    Args:
        name: the field.
        value: its text.
        where: the item that has it, such as " of item 'a'".

    Raises:
        InputError: it is of another type, such as a number, or has characters that UTF-8 or PostgreSQL lack.
    """
    if not isinstance(value, str):
        raise InputError(f"{name}: {value!r}{where} is {type(value).__name__}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name}: {value!r}{where} is not UTF-8, expected text") from error
    return value


def check_item(item: Item, journal: Journal) -> None:
    """Refuse an item that the store cannot hold.

    Raises:
        InputError: an id or content that is no text that UTF-8 has, an id that is empty; embeddings of another
            dimension, NaN or infinite; meta that JSON does not have.
    """
    check_text("id", item.id)
    check_text("content", item.content, f" of item {item.id!r}")
    if not item.id:
        raise InputError(f"id: {item.id!r} is empty, expected a name")
    check_meta(item.id, item.meta)
    check_vector(item.id, "old", item.old, journal.dim)
    check_vector(item.id, "new", item.new, journal.new_dim)


def check_vector(id: str, column: str, vector: np.ndarray | None, dim: int) -> None:
    """Refuse a vector that the store cannot hold.

    Raises:
        InputError: another dimension, NaN or infinite values.
    """
    if vector is None:
        return
    if vector.shape != (dim,):
        raise InputError(f"{column}: shape {vector.shape} of item {id!r}, expected ({dim},)")
    if not np.isfinite(vector).all():
        raise InputError(f"{column}: NaN or infinite values of item {id!r}, expected finite embeddings")


def check_report(report: Report, dim: int) -> None:
    """Refuse vectors that the store cannot hold.

    Raises:
        InputError: another dimension, NaN or infinite values, an id that is no text.
    """
    for id, *_ in (*report.done, *report.failed):
        check_text("id", id)
    vectors = [vector for _, _, vector in report.done]
    if any(vector.shape != (dim,) for vector in vectors) or not np.isfinite(vectors).all():
        for id, _, vector in report.done:
            check_vector(id, "new", vector, dim)


def check_meta(id: str, meta: Mapping[str, Any]) -> None:
    """Refuse what queries could not be filtered by.

    Raises:
        InputError: a value that JSON does not have, such as NaN; an id that is no text.
    """
    check_text("id", id)
    try:
        json.dumps(dict(meta), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"meta: of item {id!r} ({error}), expected what JSON has") from error
