"""Tables in Markdown documents, written from results.

The lines between a mark and `<!-- end -->` are replaced by the table that the mark names:

    <!-- table: FOLDER [label=value ...] -->            all columns of a benchmark; `items=N`: see `summaries`
    <!-- short: FOLDER [label=value ...] -->            its first six
    <!-- ranks: FOLDER FOLDER ... [label=value ...] --> effects over several benchmarks; against=METHOD: to this one
    <!-- harm: FOLDER FOLDER ... [label=value ...] -->  runs below the old system, by method
    <!-- gains: FOLDER FOLDER ... [label=value ...] -->  the same in short
    <!-- seen: FOLDER FOLDER ... [label=value ...] -->  one data set, with heads that see all and fewer classes
    <!-- policies: FILE -->                             an experiment on policies
    <!-- agreement: FILE -->                            reports on upgrades
    <!-- live: FILE -->                                 live migrations; also `indexed` and `searching`
    <!-- faults: FILE FILE ... -->                      faults in live migrations
    <!-- rivals: FOLDER [view=pairs|short|first|tools] --> public tools beside this project's methods

FOLDER and FILE are relative to the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from benchmarks.tables.harm import harm_table
from benchmarks.tables.live import faults, indexed, searching, speed
from benchmarks.tables.ranks import ranking, table
from benchmarks.tables.reports import agreement
from benchmarks.tables.rivals import rivals
from benchmarks.tables.seen import gains_table, seen_table
from benchmarks.tables.table import table as wide
from benchmarks.tables.table import tables
from benchmarks.tables.terminal import short
from compat.errors import InputError
from compat.files import replace

Maker: TypeAlias = Callable[[Path, Sequence[str], "list[str] | None"], str]


def _policies(path: Path) -> str:
    from benchmarks.policies.store import read  # here, as their settings take as long to import as all else
    from benchmarks.policies.summary import StudyResults
    from benchmarks.policies.tables import report

    return report(StudyResults(read(path)))


def _parted(folder: Path, words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Part the words of a mark into folders and conditions."""
    return [folder / word for word in words if "=" not in word], [word for word in words if "=" in word]


def _table(folder: Path, words: Sequence[str], broken: list[str] | None) -> str:
    first, *conditions = words
    sizes = [word.removeprefix("items=") for word in conditions if word.startswith("items=")]
    if sizes and not (sizes[-1].isdecimal() and int(sizes[-1])):
        raise InputError(f"items: {sizes[-1]}, expected the number of a gallery's items")
    draw = partial(wide, items=int(sizes[-1]) if sizes else None)
    return tables(folder / first, [word for word in conditions if not word.startswith("items=")], draw, broken)


def _ranks(folder: Path, words: Sequence[str], broken: list[str] | None) -> str:
    against = [word.removeprefix("against=") for word in words if word.startswith("against=")]
    folders, only = _parted(folder, [word for word in words if not word.startswith("against=")])
    return table(ranking(folders, only, broken=broken, against=against[0] if against else None))


def _rivals(folder: Path, words: Sequence[str], broken: list[str] | None) -> str:
    views = [word.removeprefix("view=") for word in words[1:] if word.startswith("view=")]
    return rivals(folder / words[0], *views[:1])


KINDS: dict[str, Maker] = {  # of the document's folder, the words of a mark, and messages on unreadable results
    "table": _table,
    "short": lambda folder, words, broken: tables(folder / words[0], words[1:], short, broken),
    "ranks": _ranks,
    "harm": lambda folder, words, broken: harm_table(*_parted(folder, words), broken),
    "seen": lambda folder, words, broken: seen_table(*_parted(folder, words), broken),
    "gains": lambda folder, words, broken: gains_table(*_parted(folder, words), broken),
    "policies": lambda folder, words, _: _policies(folder / words[0]),
    "agreement": lambda folder, words, _: agreement(folder / words[0]),
    "live": lambda folder, words, _: speed(folder / words[0]),
    "indexed": lambda folder, words, _: indexed(folder / words[0]),
    "searching": lambda folder, words, _: searching(folder / words[0]),
    "rivals": _rivals,
    "faults": lambda folder, words, _: faults([folder / word for word in words]),
}


def write_tables(document: str | Path, broken: list[str] | None = None) -> str:
    """Return the text of a document with each of its tables rewritten.

    Args:
        document: its path.
        broken: receives a message for each unreadable result, in place of an error.

    Raises:
        InputError: no such document, a table without an end, or any error of `tables`.
    """
    path = Path(document)
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(f"write: {path} ({error.strerror}), expected a Markdown file") from error

    def fresh(found: re.Match[str]) -> str:
        made = KINDS[found[1]](path.parent, found[2].split(), broken)
        return f"<!-- {found[1]}: {found[2]} -->\n\n{made}\n\n<!-- end -->"

    kinds = "|".join(KINDS)
    pattern = rf"<!-- ({kinds}): (.*?) -->\n.*?<!-- end -->"
    if len(re.findall(pattern, text, re.DOTALL)) != len(re.findall(f"<!-- (?:{kinds}): ", text)):
        raise InputError(f"write: {path} has a table without an end, expected <!-- end --> after each")
    return re.sub(pattern, fresh, text, flags=re.DOTALL)


def write(document: str | Path, broken: list[str] | None = None) -> None:
    """Rewrite each table of a document; see `write_tables`."""
    text = write_tables(document, broken)
    replace(Path(document), lambda file: file.write_text(text))
