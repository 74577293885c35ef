"""What is on disk against what should be there, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compat.errors import InputError


def check_counts(root: Path, counts: dict[str, tuple[int, int]]) -> None:
    """Compare what is there with the published protocol.

    Args:
        root: of the dataset.
        counts: what is counted -> (found, expected).

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
    """A dataset's folder, with `~` and `~user` as the home directory.

    Raises:
        InputError: no such user.
    """
    try:
        return Path(root).expanduser()
    except RuntimeError as error:
        raise InputError(f"{field}: {root} ({str(error).rstrip('.')}), expected a folder") from error


@contextmanager
def reading(root: Path, layout: str) -> Iterator[None]:
    """Turn whatever reading `root` raises into one line that says the expected layout, or how to get it."""
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"data.root: no permission to read {error.filename or root}, expected {layout}") from error
    except Exception as error:  # each reader has its own
        reason = " ".join(str(error).split())
        raise InputError(f"data.root: cannot read {root} ({reason}), expected {layout}") from error
