"""How a command ends with wrong input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from compat.errors import InputError


@contextmanager
def exit_on_input_error() -> Iterator[None]:
    """Print an `InputError` as one line and exit with code 2, without a traceback.

    One that was raised in a loading process arrives with that process's traceback in front; its last line is
    the message.
    """
    try:
        yield
    except InputError as error:
        message = str(error).strip().splitlines()[-1].removeprefix(f"{InputError.__module__}.InputError: ")
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
