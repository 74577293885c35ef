"""What every adapter refuses."""

from __future__ import annotations

import numpy as np

from compat.errors import InputError
from compat.live.items import Journal
from compat.live.store import Conflict, Where


def check_fields(where: Where | None, journal: Journal) -> Where:
    """The filter, once its fields are known to be the store's.

    Raises:
        InputError: one is not.
    """
    for name in where or {}:
        if name not in journal.fields:
            known = ", ".join(journal.fields) or "no filter, as the store was made without fields"
            raise InputError(f"where: {name!r}, expected {known}")
    return where or {}


def check_moment(journal: Journal, during: Journal) -> None:
    """Refuse what was made for another migration, or by what was learned before.

    Raises:
        Conflict: it was.
    """
    if (journal.migration, journal.learned) != (during.migration, during.learned):
        raise Conflict


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
