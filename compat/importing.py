"""What somebody else's code stands for by its import path, whatever it raises."""

from __future__ import annotations

import pkgutil
from typing import Any

from compat.errors import InputError

ANYTHING = (Exception, SystemExit)  # of another's code: it may also end the process


def resolved(field: str, given: str, expected: str) -> Any:
    """What an import path stands for.

    Raises:
        InputError: nothing, or its module cannot be imported.
    """
    try:
        return pkgutil.resolve_name(given)
    except ANYTHING as error:
        raise InputError(f"{field}: {given} ({reason(error)}), expected {expected}") from error


def reason(error: BaseException) -> str:
    """What another's code raised, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
