"""The effort of tuning, as written by `benchmarks.tune`: read for tables, and to resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compat.errors import InputError
from compat.results.lines import rounded

UNTUNED = "nothing to tune"


def read(path: Path) -> dict[str, Any]:
    """Read a file of trials: `asked` of each method, and `methods`; both empty without a file.

    Raises:
        InputError: the file cannot be read, or is of another kind.
    """
    try:
        found = json.loads(path.read_text())
        return {"asked": found["asked"], "methods": dict(found["methods"])}
    except FileNotFoundError:
        return {"asked": None, "methods": {}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: {type(error).__name__} {error}, expected a file of benchmarks.tune") from error


def efforts(folder: str | Path) -> dict[str, str]:
    """Return the tuning effort by method config, as text, from the files in `tuning` beside the folder.

    Where two data sets chose the same config, the one with the folder's prefix is named.

    Raises:
        InputError: such a file cannot be read.
    """
    found: dict[str, str] = {}
    own = Path(folder).resolve().name
    for path in sorted(Path(folder).parent.glob("tuning/*.json"), key=lambda path: not own.startswith(path.stem)):
        for one in read(path)["methods"].values():
            took = f"{path.stem}: {len(one['trials'])} trials, {one['seconds']:,.0f} s" if one["space"] else UNTUNED
            found.setdefault(format_effort(one["spec"]), took)
    return found


def format_effort(spec: dict[str, Any]) -> str:
    """Format a method's config as text, with numbers as in results."""
    return json.dumps(rounded(spec), sort_keys=True)
