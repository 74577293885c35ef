"""Configs by name: a file of one's own, or one of those that the package brings."""

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
    """Of the package's configs, such as digits and methods/rqt: those at the top first."""
    found = (path.relative_to(FOLDER).with_suffix("") for path in FOLDER.rglob("*.yaml"))
    return [path.as_posix() for path in sorted(found, key=lambda path: (len(path.parts), path))]


def locate(given: str, folder: Path = Path()) -> Path:
    """The file of a config.

    Args:
        given: a path, or a name.
        folder: that a path is relative to.

    Raises:
        InputError: there is no such file, and no config of that name.
    """
    path = folder / given
    if os.path.isfile(path) or path.suffix in (".yaml", ".yml"):  # what cannot be read is told by who reads it
        return path
    if given in names():
        return FOLDER / f"{given}.yaml"
    if os.path.exists(path):
        return path
    near = difflib.get_close_matches(given, names(), 5, 0.5) or [name for name in names() if "/" not in name]
    raise InputError(f"config: {given!r}, expected a file or one of {', '.join(near)}")


def is_config(given: str) -> bool:
    """Whether a file or a name is meant that is a config's, and no folder."""
    return Path(given).suffix in (".yaml", ".yml") or (given in names() and not os.path.isdir(given))


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add CONFIG and --config to a parser."""
    parser.add_argument("first", nargs="?", metavar="CONFIG", help=FIRST)
    parser.add_argument("--config", action="append", default=[], help="a config laid over it; may be repeated")


def layers(arguments: argparse.Namespace) -> list[str]:
    """The configs that were given, each to be laid over those before it."""
    return [*filter(None, [arguments.first]), *arguments.config]
