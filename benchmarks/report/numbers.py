"""Numbers as they are read."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percent(value: float, digits: int = 1) -> str:
    """A share.

    Example:
        >>> percent(0.1234)
        '12.3 %'
    """
    return "-" if math.isnan(value) else f"{100 * value:.{digits}f} %"


def points(value: float, sign: bool = True) -> str:
    """A difference of two shares.

    Example:
        >>> points(-0.01)
        '-1.0 points'
    """
    return f"{100 * value:{'+' if sign else ''}.1f} points"


def between(low: float, high: float) -> str:
    """The ends of an interval of a difference.

    Example:
        >>> between(-0.01, 0.02)
        '-1.0 to +2.0 points'
    """
    return f"{100 * low:+.1f} to {points(high)}"


def counted(value: float) -> str:
    """A count.

    Example:
        >>> counted(1234567)
        '1,234,567'
    """
    return f"{value:,.0f}"


def rough(value: float) -> str:
    """A count that is an estimate, in two digits.

    Example:
        >>> rough(93525)
        '94,000'
    """
    return counted(float(f"{value:.2g}"))


def apart(values: Sequence[float]) -> list[str]:
    """Different numbers with as few decimals as tell each from the next; where six do not, with six.

    Example:
        >>> apart([0, 2.5, 5])
        ['0.0', '2.5', '5.0']
    """
    for digits in range(7):
        found = [f"{value:.{digits}f}" for value in values]
        if len(set(found)) == len(found):
            break
    return found


def size(count: float) -> str:
    """Bytes.

    Example:
        >>> size(3_072_000_000)
        '3.1 GB'
    """
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def duration(hours: float) -> str:
    """Hours, or what is read more easily.

    Example:
        >>> duration(60), duration(0.5)
        ('2.5 days', '30 minutes')
    """
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    if hours >= 1.5:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.2g} minutes" if hours * 60 >= 1 else f"{hours * 3600:.2g} seconds"
