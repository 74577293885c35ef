"""Wrong input: its one exception, and checks of names and ranges.

>>> positive(temperature=0.1, scale=None)
>>> positive(temperature=-1)
Traceback (most recent call last):
compat.errors.InputError: temperature: -1, expected more than 0
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from numbers import Integral, Real


class InputError(ValueError):
    """Wrong input. The message is one line: the field, the value found, and the expected one."""


def check_name(field: str, name: str) -> str:
    """Check a name for use as part of a file's name on any system.

    Raises:
        InputError: no text, empty, a leading dot, or other characters than ASCII letters, digits and . _ - +

    Example:
        >>> check_name("name", "rqt+2.1")
        'rqt+2.1'
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*", name):
        raise InputError(f"{field}: {name!r}, expected letters, digits, '.', '_', '-' and '+', not starting with '.'")
    return name


def closest(name: str, known: list[str]) -> str:
    """What somebody may have meant, as the end of a message."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"expected some of {', '.join(sorted(known))}"


def positive(**arguments: float | None) -> None:
    """Require values above 0, and finite; None is skipped."""
    _check(arguments, lambda value: value > 0, "more than 0")


def not_negative(**arguments: float | None) -> None:
    """Require values of 0 or more, and finite."""
    _check(arguments, lambda value: value >= 0, "0 or more")


def at_least_one(**arguments: int | None) -> None:
    """Require counts of 1 or more."""
    _check(arguments, lambda value: value >= 1, "at least 1")


def whole(**arguments: int | None) -> None:
    """Require whole numbers, of any library."""
    for name, value in arguments.items():
        if value is not None and not isinstance(value, Integral):
            raise InputError(f"{name}: {value!r}, expected a whole number")


def share(**arguments: float | None) -> None:
    """Require shares in (0, 1]."""
    _check(arguments, lambda value: 0 < value <= 1, "a share in (0, 1]")


def angle(**arguments: float | None) -> None:
    """Require angles in radians, in [0, pi)."""
    _check(arguments, lambda value: 0 <= value < math.pi, "an angle in [0, pi)")


def _check(arguments: Mapping[str, float | None], holds: Callable[[float], bool], expected: str) -> None:
    for name, value in arguments.items():
        if value is not None and not isinstance(value, Real):
            raise InputError(f"{name}: {value!r} is {type(value).__name__}, expected a number")
        if value is not None and not (math.isfinite(value) and holds(value)):
            raise InputError(f"{name}: {value}, expected {expected}")
