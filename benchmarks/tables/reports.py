"""Agreement of reports with themselves, measured by `benchmarks.perf.report_agreement`, as a Markdown table."""

from __future__ import annotations

import json
from pathlib import Path

from compat.errors import InputError

COLUMNS = (
    "upgrade", "queries", "gain of mAP (points)", "verdict", "halves agree on it (%)", "one says yes, the other no (%)",
    "way", "halves choose the same (%)", "chosen way as good as the other half's best (%)",
)  # fmt: skip


def agreement(path: Path) -> str:
    """Format the table of a file.

    Raises:
        InputError: no such file, or another kind of file.
    """
    try:
        upgrades = json.loads(path.read_text())["upgrades"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: {error}, expected a report of benchmarks.perf.report_agreement") from error
    rows = [COLUMNS, ("---", "--:", "--:", "---", "--:", "--:", "---", "--:", "--:")]
    for name, found in upgrades.items():
        mean, low, high = (100 * value for value in found["gain"])
        shares = [f"{100 * found[key]:.0f}" for key in ("verdict", "opposed", "same_way", "good_way")]
        gain = f"{mean:.1f} ({low:.1f} to {high:.1f})"
        rows.append((name, f"{found['queries']:,}", gain, found["outcome"], *shares[:2], found["way"], *shares[2:]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
