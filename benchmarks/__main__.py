"""Benchmarks for compatible representation learning: one command, also `python -m benchmarks`.

    compat-bench run digits
    compat-bench table results/digits
    compat-bench run --help

Each command is a module too, such as `python -m benchmarks.run`. To complete commands, options and files by TAB:

    compat-bench --print-completion bash > ~/.local/share/bash-completion/completions/compat-bench
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, cast

from compat import __version__
from compat.command import CONSOLE, Parser, exit_on_input_error
from compat.errors import InputError, closest


class Command(NamedTuple):
    """A module with `main` and `parser`, imported when it is called, and its line in `--help`."""

    module: str
    help: str


COMMANDS = {
    "run": Command("benchmarks.run", "run a benchmark from its YAML file"),
    "replay": Command("benchmarks.replay", "measure a backfill with your own embeddings"),
    "report": Command("benchmarks.report.__main__", "report whether an upgrade is worth it, as HTML"),
    "page": Command("benchmarks.page.__main__", "write all results of a folder as an HTML page"),
    "table": Command("benchmarks.table", "print results, or write them into documents"),
    "plot": Command("benchmarks.plot", "draw backfill curves"),
    "rank": Command("benchmarks.rank", "rank methods over several data sets"),
    "tune": Command("benchmarks.tune", "choose arguments of methods on held-out images"),
    "data": Command("benchmarks.data", "fetch public data sets, and check a config's images"),
    "policies": Command("benchmarks.policies.__main__", "train and test policies of what is backfilled first"),
    "live": Command("compat.live.__main__", "migrate a store while it serves"),
}
NAMED = "_compat_bench_configs"  # the shell function that completes a config
PREAMBLE = {
    "bash": f'{NAMED}() {{\n  compgen -W "NAMES" -- "$1"\n  compgen -f -- "$1"\n}}',
    "zsh": f"{NAMED}() {{\n  _alternative 'names:config:(NAMES)' 'files:file:_files'\n}}",
}


def parser(kind: Callable[..., Parser] = Parser) -> Parser:
    """The parser of `compat-bench`.

    Args:
        kind: makes the parser of a command of the name that its `prog` ends in; by default one without options.
    """
    head, _, usage = (__doc__ or "").partition("\n\n")
    whole = Parser(prog=CONSOLE, description=head, epilog=usage)
    whole.add_argument("--version", action="version", version=f"{CONSOLE} {__version__}")
    whole.add_argument(
        "--print-completion", choices=["bash", "zsh"], help="print a script of completions (needs shtab)"
    )
    commands: Any = whole.add_subparsers(dest="command", metavar="COMMAND", parser_class=cast(type[Parser], kind))
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help)
    return whole


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `compat-bench`."""
    given = sys.argv[1:] if given is None else given
    name = next(iter(given), "")
    if name in COMMANDS:
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # as `python -m` does: a config may name classes of the current folder
        import_module(COMMANDS[name].module).main(given[1:])
        return
    with exit_on_input_error():
        if name and not name.startswith("-"):
            raise InputError(f"command: {name!r}, {closest(name, list(COMMANDS))}")
        arguments = parser().parse_args(given)
        if arguments.print_completion is None:
            raise InputError(f"command: none, expected one of {', '.join(COMMANDS)}")
        print(completion(arguments.print_completion))


def completion(shell: str) -> str:
    """Return a completion script: commands, options, choices, names of configs, and files for all other values.

    Raises:
        InputError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise InputError("shtab: not installed, expected it: pip install compat-bench[completion]") from error
    from benchmarks.config.named import names

    def of_command(prog: str, **_: Any) -> Parser:
        return import_module(COMMANDS[prog.split()[-1]].module).parser()

    whole = parser(of_command)
    waiting: list[Any] = [whole]
    while waiting:
        for action in waiting.pop()._actions:
            if isinstance(action.choices, dict):
                waiting += dict.fromkeys(action.choices.values())
            elif action.nargs != 0 and action.choices is None:
                named = action.metavar == "CONFIG" or action.dest == "config"
                action.complete = {"bash": NAMED, "zsh": NAMED} if named else shtab.FILE
    return shtab.complete(whole, shell, preamble=PREAMBLE[shell].replace("NAMES", " ".join(names())))


if __name__ == "__main__":
    main()
