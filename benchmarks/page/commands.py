"""Commands stored with the results; for older results, the commands in the documents."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml

from benchmarks.config.named import add_config, layers, locate
from compat.command import CONSOLE

RUN = re.compile(r"^(?:python -m benchmarks\.run|compat-bench run) .*$", re.MULTILINE)


@cache
def read_commands(root: Path) -> dict[str, list[str]]:
    """Read the commands in the Markdown documents beside folders of results, by the folder written by each.

    Args:
        root: the folder of the folders; configs are looked for beside it.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(root.glob("*.md")):
        for command in RUN.findall(path.read_text(errors="replace").replace("\\\n", " ")):
            known = found.setdefault(_name(_words(command), root.parent), [])
            if command not in known:
                known.append(command)
    return found


def for_method(commands: Sequence[str], method: str) -> list[int]:
    """Return the places of the commands a method may have been run by: all but those for other methods only."""
    asked = [_value(_words(command), "only") for command in commands]
    return [number for number, only in enumerate(asked) if not only or method in only.split(",")]


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _value(words: Sequence[str], option: str) -> str:
    """Return an option's value, from --option=value or --option value; empty without it."""
    for number, word in enumerate(words):
        if word == f"--{option}":
            return "".join(words[number + 1 : number + 2])
        if word.startswith(f"--{option}="):
            return word.partition("=")[2]
    return ""


def _name(words: Sequence[str], folder: Path) -> str:
    """Return the benchmark's name in a command: its own option, or the last of its configs with one."""
    if name := _value(words, "name"):
        return name
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    add_config(parser)
    try:
        found, _ = parser.parse_known_args(words[2 if words[0] == CONSOLE else 3 :])
    except argparse.ArgumentError:
        return ""
    for config in reversed(layers(found)):
        try:
            content = yaml.safe_load(locate(config, folder).read_text())
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(content, dict) and "name" in content:
            return str(content["name"])
    return ""
