"""Resolve import paths of others' code; any error becomes one line."""

from __future__ import annotations

import pkgutil
from typing import Any

from compat.errors import InputError

ANYTHING = (Exception, SystemExit)  # of another's code: it may also end the process


def resolved(field: str, given: str, expected: str) -> Any:
    """Resolve an import path.

    Raises:
        InputError: it names nothing, or its module cannot be imported.
    """
    try:
        return pkgutil.resolve_name(given)
    except ANYTHING as error:
        raise InputError(f"{field}: {given} ({reason(error)}), expected {expected}") from error


def reason(error: BaseException) -> str:
    """Return an exception of others' code on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
