"""Tables in Markdown documents, written from results.

A document that tables are written into has a line `<!-- table: FOLDER [label=value ...] -->` before each of them and
`<!-- end -->` after it; one of ranks over several folders `<!-- ranks: FOLDER FOLDER ... [label=value ...] -->`; those
of an experiment on policies `<!-- policies: FILE -->`, that of reports on upgrades `<!-- agreement: FILE -->`, those
of live migrations `<!-- live: FILE -->`, `<!-- indexed: FILE -->`, `<!-- searching: FILE -->` and
`<!-- faults: FILE FILE ... -->`. FOLDER and FILE are relative to the document.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.tables.live import faults, indexed, searching, speed
from benchmarks.tables.ranks import ranking, table
from benchmarks.tables.reports import agreement
from benchmarks.tables.table import tables
from compat.errors import InputError
from compat.files import replace

KINDS = "table|ranks|policies|agreement|live|indexed|searching|faults"


def written(document: str | Path, broken: list[str] | None = None) -> str:
    """The text of a document with each of its tables made anew.

    Args:
        document: its path.
        broken: gets a message for each result that cannot be read, in place of an error.

    Raises:
        InputError: no such document, a table without an end, or what `tables` raises.
    """
    path = Path(document)
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(f"write: {path} ({error.strerror}), expected a Markdown file") from error

    def fresh(found: re.Match[str]) -> str:
        kind, words = found[1], found[2].split()
        if kind == "ranks":
            folders = [path.parent / word for word in words if "=" not in word]
            made = table(ranking(folders, [word for word in words if "=" in word], broken=broken))
        elif kind == "policies":
            made = _policies(path.parent / words[0])
        elif kind == "agreement":
            made = agreement(path.parent / words[0])
        elif kind == "live":
            made = speed(path.parent / words[0])
        elif kind == "searching":
            made = searching(path.parent / words[0])
        elif kind == "indexed":
            made = indexed(path.parent / words[0])
        elif kind == "faults":
            made = faults([path.parent / word for word in words])
        else:
            made = tables(path.parent / words[0], words[1:], broken=broken)
        return f"<!-- {kind}: {found[2]} -->\n\n{made}\n\n<!-- end -->"

    pattern = rf"<!-- ({KINDS}): (.*?) -->\n.*?<!-- end -->"
    if len(re.findall(pattern, text, re.DOTALL)) != len(re.findall(f"<!-- (?:{KINDS}): ", text)):
        raise InputError(f"write: {path} has a table without an end, expected <!-- end --> after each")
    return re.sub(pattern, fresh, text, flags=re.DOTALL)


def _policies(path: Path) -> str:
    from benchmarks.policies.store import read  # here, as their settings take as long to import as all else
    from benchmarks.policies.summary import StudyResults
    from benchmarks.policies.tables import report

    return report(StudyResults(read(path)))


def write(document: str | Path, broken: list[str] | None = None) -> None:
    """Write each table of a document anew; see `written`."""
    text = written(document, broken)
    replace(Path(document), lambda file: file.write_text(text))
