"""What tuning took, as `benchmarks.tune` wrote it: read for tables, and to go on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compat.errors import InputError
from compat.results.lines import rounded

UNTUNED = "nothing to tune"


def read(path: Path) -> dict[str, Any]:
    """A file of trials: `asked` of each method, and `methods`; both empty where there is none yet.

    Raises:
        InputError: the file cannot be read, or is no such file.
    """
    try:
        found = json.loads(path.read_text())
        return {"asked": found["asked"], "methods": dict(found["methods"])}
    except FileNotFoundError:
        return {"asked": None, "methods": {}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: {type(error).__name__} {error}, expected a file that benchmarks.tune wrote"
        ) from error


def efforts(folder: str | Path) -> dict[str, str]:
    """What tuning each method's config took, by the config as text, from the files in `tuning` beside the folder.

    Where two data sets chose the same, the one whose name the folder's begins with is named.

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
    """A method's config as text, with numbers as results keep them."""
    return json.dumps(rounded(spec), sort_keys=True)
