"""An environment for each tool: a Python of a version that it supports, and what pip installs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from benchmarks.rivals.tools import Tool

NEWEST = 14  # minor version of Python that is looked for
LIMIT = 1200.0  # seconds of an installation
READY = "installed"  # a file in a whole environment: what was installed


class NotInstalledError(Exception):
    """A tool is not there, for a reason in one line."""


@cache
def interpreter(oldest: tuple[int, int]) -> str:
    """Find a Python of a version: this one, or `python3.x` on the path.

    Raises:
        NotInstalledError: there is none.
    """
    newer = (f"python3.{minor}" for minor in range(oldest[1], NEWEST + 1))
    for name in (sys.executable, *filter(shutil.which, newer)):
        if version(name) >= oldest:
            return name
    raise NotInstalledError(f"needs Python {oldest[0]}.{oldest[1]}, which was not found")


def version(program: str) -> tuple[int, ...]:
    """Return the version of a Python, or none of a program that does not run."""
    asked = [program, "-c", "import sys; print(*sys.version_info[:2])"]
    done = subprocess.run(asked, capture_output=True, text=True)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()


def environment(tool: Tool, folder: Path) -> str:
    """Return the Python of a tool's environment, made where it is missing or holds something else.

    Args:
        tool: one without requirements runs in this environment.
        folder: of all environments.

    Raises:
        NotInstalledError: no Python of its version, or pip fails.
    """
    if not tool.requirements:
        return sys.executable
    own = folder / tool.name
    python, wanted = own / "bin" / "python", "\n".join(tool.requirements)
    ready = own / READY
    if ready.is_file() and ready.read_text() == wanted:
        return str(python.absolute())
    _call([interpreter(tool.python), "-m", "venv", "--clear", str(own)])
    _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *tool.requirements])
    ready.write_text(wanted)
    return str(python.absolute())


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise NotInstalledError(f"no end of its installation within {LIMIT:g} s") from error
    if done.returncode:
        raise NotInstalledError(last_line(done.stderr + done.stdout))


def last_line(text: str) -> str:
    """Return the last error of a program, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["no word from it"])[-1]
