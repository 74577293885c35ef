"""Find configs by path, or by name among the package's own."""

from __future__ import annotations

import argparse
import difflib
import os
from functools import cache
from pathlib import Path

from compat.errors import InputError

FOLDER = Path(__file__).parents[1] / "configs"  # in a checkout a link to configs/
FIRST = "YAML file, or the name of one in the package, such as digits"


@cache
def names() -> list[str]:
    """Return the names of the package's configs, such as digits and methods/rqt, the top level first."""
    found = (path.relative_to(FOLDER).with_suffix("") for path in FOLDER.rglob("*.yaml"))
    return [path.as_posix() for path in sorted(found, key=lambda path: (len(path.parts), path))]


def locate(given: str, folder: Path = Path()) -> Path:
    """Return the file of a config.

    Args:
        given: a path, or a name.
        folder: base of relative paths.

    Raises:
        InputError: there is no such file, and no config of that name.
    """
    path = folder / given
    if os.path.isfile(path) or path.suffix in (".yaml", ".yml"):  # the reader reports unreadable files
        return path
    if given in names():
        return FOLDER / f"{given}.yaml"
    if os.path.exists(path):
        return path
    near = difflib.get_close_matches(given, names(), 5, 0.5) or [name for name in names() if "/" not in name]
    raise InputError(f"config: {given!r}, expected a file or one of {', '.join(near)}")


def is_config(given: str) -> bool:
    """Whether a config's file or name is meant, and no folder."""
    return Path(given).suffix in (".yaml", ".yml") or (given in names() and not os.path.isdir(given))


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add CONFIG and --config to a parser."""
    parser.add_argument("first", nargs="?", metavar="CONFIG", help=FIRST)
    parser.add_argument("--config", action="append", default=[], help="a config laid over it; may be repeated")


def layers(arguments: argparse.Namespace) -> list[str]:
    """Return the given configs, each an overlay of those before it."""
    return [*filter(None, [arguments.first]), *arguments.config]
