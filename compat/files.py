"""Write files atomically: a killed process leaves the old content or all of the new."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside `path` and rename it: a reader finds the old content or all of the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sweep(path: Path) -> None:
    """Remove leftovers of `replace` by killed processes; for the only writer of the file."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)
