"""Names that become names of files."""

from __future__ import annotations

import re

from compat.errors import InputError


def check_name(field: str, name: str) -> str:
    """The name, if it can be part of a file's name everywhere.

    Raises:
        InputError: no text, empty, a leading dot, or other characters than ASCII letters, digits and . _ - +

    Example:
        >>> check_name("name", "rqt+2.1")
        'rqt+2.1'
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*", name):
        raise InputError(f"{field}: {name!r}, expected letters, digits, '.', '_', '-' and '+', not starting with '.'")
    return name
