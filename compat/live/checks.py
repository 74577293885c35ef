"""Input checks shared by all adapters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from compat.errors import InputError
from compat.live.items import Item, Journal, Report
from compat.live.store import Conflict, Where

NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")  # as JSON writes it, not an escaped backslash before u0000


def check_fields(where: Where | None, journal: Journal) -> Where:
    """Check the fields of a filter, and convert NumPy scalars to Python values.

    Raises:
        InputError: an unknown field, or a value which no store can compare.
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
        if isinstance(value, str):
            check_text("where", value, f" of {name}")
    return found


def _is_large(value: object) -> bool:
    return isinstance(value, int | float) and not abs(value) < 2**63


def check_adding(journal: Journal) -> None:
    """Refuse to add items with only an old embedding in phases which do not serve them.

    Raises:
        InputError: a migration is running or was finalized.
    """
    if journal.phase not in ("none", "planned", "rolled_back"):
        found = f"migration {journal.migration} is {journal.phase}"
        raise InputError(f"add: {found}, expected phase none, planned or rolled_back: `Writer.put` writes in any phase")


def check_way(journal: Journal, during: Journal | None) -> None:
    """Refuse queries made for another serving plan.

    Raises:
        Conflict: the serving plan has changed.
    """
    if during is not None and journal.serving_key != during.serving_key:
        raise Conflict


def check_phase(journal: Journal, during: Journal) -> None:
    """Refuse an item prepared for another migration or another phase.

    Raises:
        Conflict: the migration or its phase has changed.
    """
    if (journal.migration, journal.phase) != (during.migration, during.phase):
        raise Conflict


def check_moment(journal: Journal, during: Journal) -> None:
    """Refuse vectors made for another migration or another fit.

    Raises:
        Conflict: the migration or the fit has changed.
    """
    if (journal.migration, journal.learned) != (during.migration, during.learned):
        raise Conflict


def check_text(name: str, value: str, where: str = "") -> str:
    """Check the id or content of an item.

    Args:
        name: the field.
        value: its value.
        where: the item, such as " of item 'a'".

    Returns:
        The value.

    Raises:
        InputError: another type, such as a number, text which is not UTF-8 or has a NUL.
    """
    if not isinstance(value, str):
        raise InputError(f"{name}: {value!r}{where} is {type(value).__name__}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name}: {value!r}{where} is not UTF-8, expected text") from error
    if "\0" in value:
        raise InputError(f"{name}: {value!r}{where} has a NUL, expected text that all stores hold")
    return value


def check_item(item: Item, journal: Journal) -> None:
    """Refuse an item which the store cannot hold.

    Raises:
        InputError: an id or content which is not UTF-8 text, an empty id, embeddings of another dimension, NaN or
            infinite values, or meta which is not JSON.
    """
    check_text("id", item.id)
    check_text("content", item.content, f" of item {item.id!r}")
    if not item.id:
        raise InputError(f"id: {item.id!r} is empty, expected a name")
    check_meta(item.id, item.meta)
    check_vector(item.id, "old", item.old, journal.dim)
    check_vector(item.id, "new", item.new, journal.new_dim)


def check_vector(id: str, column: str, vector: np.ndarray | None, dim: int) -> None:
    """Refuse a vector which the store cannot hold.

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
    """Refuse a report with vectors which the store cannot hold.

    Raises:
        InputError: another dimension, NaN or infinite values, an id which is not text.
    """
    for id, *_ in (*report.done, *report.failed):
        check_text("id", id)
    vectors = [vector for _, _, vector in report.done]
    if any(vector.shape != (dim,) for vector in vectors) or not np.isfinite(vectors).all():
        for id, _, vector in report.done:
            check_vector(id, "new", vector, dim)


def check_meta(id: str, meta: Mapping[str, Any]) -> None:
    """Refuse meta which queries cannot filter by.

    Raises:
        InputError: a value which is not JSON, such as NaN, or has a NUL; an id which is not text.
    """
    check_text("id", id)
    try:
        text = json.dumps(dict(meta), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"meta: of item {id!r} ({error}), expected JSON values") from error
    if NUL.search(text):
        raise InputError(f"meta: of item {id!r} has a NUL, expected JSON that all stores hold")
