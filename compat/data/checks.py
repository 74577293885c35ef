"""Checks of a dataset's files, refused in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compat.errors import InputError


def check_counts(root: Path, counts: dict[str, tuple[int, int]]) -> None:
    """Compare counts with the published protocol.

    Args:
        root: folder of the dataset.
        counts: name of the counted thing -> (found, expected).

    Raises:
        InputError: the first count that differs.
    """
    for what, (found, expected) in counts.items():
        if found != expected:
            raise InputError(
                f"data.root: {found:,} {what} in {root}, expected the protocol's {expected:,}; is the archive unpacked "
                "completely? (verify: false takes what is there)"
            )


def expand_path(root: str, field: str = "data.root") -> Path:
    """Resolve `~` and `~user` in a dataset's folder.

    Raises:
        InputError: no such user.
    """
    try:
        return Path(root).expanduser()
    except RuntimeError as error:
        raise InputError(f"{field}: {root} ({str(error).rstrip('.')}), expected a folder") from error


@contextmanager
def reading(root: Path, layout: str) -> Iterator[None]:
    """Turn any error while reading `root` into one line with the expected layout, or the command that fetches it."""
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"data.root: no permission to read {error.filename or root}, expected {layout}") from error
    except Exception as error:  # each reader has its own
        reason = " ".join(str(error).split())
        raise InputError(f"data.root: cannot read {root} ({reason}), expected {layout}") from error
