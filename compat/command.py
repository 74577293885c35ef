"""How a command ends with wrong input, by a signal or where nobody reads, and what it tells: one line each."""

from __future__ import annotations

import argparse
import errno
import io
import os
import select
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from compat.errors import InputError

GO_ON = "run the same command to go on where it was"
STDOUT = 1  # the file descriptor
CONSOLE = "compat-bench"  # the console script
ENDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Interrupted(BaseException):
    """The process is told to end; no KeyboardInterrupt or SystemExit, of which Lightning makes a plain exit."""

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)


@contextmanager
def exit_on_input_error(
    broken: Sequence[str] = (), again: str = "run the same command again", signals: Sequence[signal.Signals] = (*ENDS,)
) -> Iterator[None]:
    """Print an `InputError`, a warning or the end by a signal as one line each; the exit code is 2, or the shell's.

    An InputError that was raised in a loading process arrives with that process's traceback in front, which is left
    out. Letters that the terminal lacks are escaped. Where nobody reads on the command ends silently, with code 141.

    Args:
        broken: what could not be read and was left out, by then: printed too, and the exit code is 1 if all else went
            well.
        again: how to go on after a signal.
        signals: those that end the command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    error: InputError | None = None
    with warnings.catch_warnings(), _raising(signals):
        warnings.showwarning = warn
        try:
            with _printing():
                yield
        except InputError as found:
            error = found
        except Interrupted as end:
            gap = "\n" if sys.stderr.isatty() else ""  # after a progress bar
            print(f"{gap}{ENDS[end.number]}; {again}", file=sys.stderr, flush=True)
            with suppress(OSError):
                sys.stdout.flush()
            os._exit(128 + end.number)  # threads that are at work are not waited for
    for message in dict.fromkeys(broken):
        print(f"error: {one_line(message)}", file=sys.stderr)
    if error is not None:
        message = str(error).rpartition(f"{InputError.__module__}.InputError: ")[2]
        print(f"error: {one_line(message)}", file=sys.stderr)
    if error is not None or broken:
        sys.exit(1 if error is None else 2)


@contextmanager
def _printing() -> Iterator[None]:
    """Print to the end, within it also what Python prints when it ends.

    Raises:
        InputError: the disk is full, or the name of a file is too long.
        SystemExit: the reader of what is printed has gone.
    """
    try:
        try:
            yield
        except SystemExit:
            print(end="", flush=True)
            raise
        print(end="", flush=True)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and nobody_reads():
            _drop_output()
            sys.exit(128 + signal.SIGPIPE)
        if error.errno == errno.ENAMETOOLONG:
            name = str(error.filename)
            raise InputError(f"file: {name[:40]}... has {len(name)} letters, expected a shorter name") from error
        if error.errno != errno.ENOSPC:
            raise
        try:
            print(end="", flush=True)
        except OSError:
            _drop_output()
        raise InputError(f"disk: {error}, expected room for what is written") from error


def nobody_reads() -> bool:
    """Whether the reader of what is printed has gone, as `head` does."""
    output = select.poll()
    output.register(STDOUT, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in output.poll(0))


def _drop_output() -> None:
    """Let what is left to be printed go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)


@contextmanager
def _raising(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """Let signals raise `Interrupted` in this process, and end its forks as they would have."""
    process = os.getpid()

    def end(number: int, frame: Any) -> None:
        if os.getpid() == process:
            raise Interrupted(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = {number: signal.signal(number, end) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def one_line(message: str) -> str:
    """A message of several lines as one."""
    return " ".join(filter(None, map(str.strip, message.splitlines())))


class Parser(argparse.ArgumentParser):
    """Argparse's, with wrong options told in one line, also those whose bytes are no text.

    Options are not abbreviated, as keys of a config may begin likewise; texts keep their lines.
    """

    def __init__(self, *args: Any, **given: Any) -> None:
        usual: dict[str, Any] = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(*args, **usual | given)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        for argument in sys.argv[1:] if args is None else args:
            try:
                argument.encode()
            except UnicodeEncodeError:
                print(f"error: arguments: {argument!r} is not UTF-8, expected text", file=sys.stderr)
                sys.exit(2)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        print(f"error: {one_line(message)}; expected what --help names", file=sys.stderr)
        sys.exit(2)


def command_parser(module: str, doc: str | None, usage: str | None = None) -> Parser:
    """The parser of a command, described by its module's docstring: the first paragraph above the options.

    Args:
        module: such as `benchmarks.run`.
        doc: its docstring.
        usage: the arguments in place of argparse's own list.
    """
    head, _, rest = (doc or "").partition("\n\n")
    return Parser(prog=called(module), usage=usage and f"%(prog)s {usage}", description=head, epilog=rest)


def called(module: str) -> str:
    """How a command is called: `compat-bench run` by the console script, else `python -m benchmarks.run`."""
    if Path(sys.argv[0]).name == CONSOLE:
        return f"{CONSOLE} {module.rpartition('.')[2]}"
    return f"python -m {module}"


def warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as one line, in place of `warnings.showwarning`."""
    print(f"warning: {one_line(str(message))}", file=sys.stderr)
