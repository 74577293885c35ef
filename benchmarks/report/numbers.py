"""Format numbers for readers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percent(value: float, digits: int = 1) -> str:
    """Format a share.

    Example:
        >>> percent(0.1234)
        '12.3 %'
    """
    return "-" if math.isnan(value) else f"{100 * value:.{digits}f} %"


def points(value: float, sign: bool = True) -> str:
    """Format a difference of two shares.

    Example:
        >>> points(-0.01)
        '-1.0 points'
    """
    return f"{100 * value:{'+' if sign else ''}.1f} points"


def between(low: float, high: float) -> str:
    """Format the interval of a difference.

    Example:
        >>> between(-0.01, 0.02)
        '-1.0 to +2.0 points'
    """
    return f"{100 * low:+.1f} to {points(high)}"


def counted(value: float) -> str:
    """Format a count.

    Example:
        >>> counted(1234567)
        '1,234,567'
    """
    return f"{value:,.0f}"


def rough(value: float) -> str:
    """Format an estimated count, with two significant digits.

    Example:
        >>> rough(93525)
        '94,000'
    """
    return counted(float(f"{value:.2g}"))


def apart(values: Sequence[float]) -> list[str]:
    """Format numbers with as few decimals as distinguish them, at most six.

    Example:
        >>> apart([0, 0.5, 1])
        ['0.0', '0.5', '1.0']
    """
    for digits in range(7):
        found = [f"{value:.{digits}f}" for value in values]
        if len(set(found)) == len(found):
            break
    return found


def size(count: float) -> str:
    """Format bytes.

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
    """Format hours in a readable unit.

    Example:
        >>> duration(60), duration(0.5)
        ('2.5 days', '30 minutes')
    """
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    if hours >= 1.5:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.2g} minutes" if hours * 60 >= 1 else f"{hours * 3600:.2g} seconds"
