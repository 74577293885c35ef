"""How a command ends with wrong input, and what it tells on the way: one line each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from compat.errors import InputError


@contextmanager
def exit_on_input_error(broken: Sequence[str] = ()) -> Iterator[None]:
    """Print an `InputError` as one line and exit with code 2, without a traceback.

    One that was raised in a loading process arrives with that process's traceback in front; its last line is
    the message.

    Args:
        broken: what could not be read and was left out, by then: printed too, and the exit code is 1 if all else went
            well.
    """
    error: InputError | None = None
    try:
        yield
    except InputError as found:
        error = found
    for message in dict.fromkeys(broken):
        print(f"error: {message}", file=sys.stderr)
    if error is not None:
        message = str(error).strip().splitlines()[-1].removeprefix(f"{InputError.__module__}.InputError: ")
        print(f"error: {message}", file=sys.stderr)
    if error is not None or broken:
        sys.exit(1 if error is None else 2)


class Parser(argparse.ArgumentParser):
    """Argparse's, with wrong options told in one line."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}; expected what --help names", file=sys.stderr)
        sys.exit(2)


def warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as one line, in place of `warnings.showwarning`."""
    print(f"warning: {message}", file=sys.stderr)
