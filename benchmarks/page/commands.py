"""Commands stored with the results; for older results, the commands in the documents."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml

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
    for config in reversed([word.removeprefix("--config=") for word in words if word.endswith(".yaml")]):
        try:
            content = yaml.safe_load(folder.joinpath(config).read_text())
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(content, dict) and "name" in content:
            return str(content["name"])
    return ""
