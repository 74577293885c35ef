"""Compare all figures of the results at a commit with the present ones.

    python -m benchmarks.tables.against 367cd4b

Every figure of every result and every cell of the documents' tables must be equal to the printed digits; training
seconds are shown, old and new. Exit code 1 where others differ.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.tables.document import write_tables
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.results import Result, identity, load_results

TRAINING = "training (s)"


def checkout(commit: str, folder: Path) -> None:
    """Write the results and documents of a commit into a folder.

    Raises:
        InputError: no such commit, or no results in it.
    """
    done = subprocess.run(["git", "archive", commit, "results", "README.md"], capture_output=True)
    if done.returncode:
        reason = done.stderr.decode().strip().splitlines()[-1]
        raise InputError(f"commit: {commit} ({reason}), expected one of this repository, with results")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def figures(result: Result) -> dict[str, str]:
    """Return a result's figures as printed: percent to two digits, numbers and seconds unchanged."""
    lists = dict(result.curves)
    lists |= {f"mAP of order {number}": values for number, values in enumerate(result.mean_ap_orders)}
    lists |= {name: list(getattr(result, name).values()) for name in ("old", "new")}
    found = {name: " ".join(f"{100 * value:.2f}" for value in values) for name, values in lists.items()}
    for name in ("queries", "queries_without_positive", "gallery_items", "encoder_passes_per_query", "bytes_per_item"):
        found[name] = str(getattr(result, name))
    found |= {f"seconds of {stage}": f"{value:.2f}" for stage, value in result.seconds.items()}
    return found | {"progress": " ".join(f"{value:g}" for value in result.progress), "key": result.key}


def folders_of(root: Path) -> list[Path]:
    """List the benchmarks' folders of a repository."""
    return sorted({path.parent for path in root.glob("results/*/results.jsonl*")})


def differing_figures(before: Path, here: Path) -> Iterator[str]:
    """List each changed figure of a result, and each missing result."""
    for folder in folders_of(before):
        now = {identity(r.labels): figures(r) for r in load_results(here / "results" / folder.name)}
        for result in load_results(folder):
            row = f"{folder.name} {result.upgrade} {result.name} seed {result.seed}"
            found = now.get(identity(result.labels), {})
            for name, value in figures(result).items():
                if found.get(name) != value:
                    yield f"{row}: {name} was {value}, is {found.get(name, 'missing')}"


def cells(text: str) -> dict[str, dict[tuple[str, str], str]]:
    """Return each table's cells by row and column, under the folder and the conditions in its mark."""
    found = {}
    for mark, table in re.findall(r"<!-- table: (?:results/)?(.*?) -->\n(.*?)<!-- end -->", text, re.DOTALL):
        lines = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
        ]
        names, _, *rows = lines
        own = {(row[0], name): cell for row in rows for name, cell in zip(names, row, strict=True)}
        found[mark] = {("", "systems"): table.split("\n|")[0].strip(), **own}
    return found


def documents(root: Path) -> list[Path]:
    """List a repository's documents with tables of results."""
    return [root / "README.md", *sorted(root.glob("results/*.md"))]


def differing_cells(before: Path, here: Path) -> Iterator[tuple[str, bool]]:
    """List each changed cell of a document's tables, and whether it is of training seconds."""
    now = cells("\n".join(write_tables(path) for path in documents(here)))
    for mark, old in cells("\n".join(path.read_text() for path in documents(before))).items():
        new = now.get(mark, {})
        for (row, column), cell in old.items():
            found = new.get((row, column), "missing")
            if cell != found:
                yield f"table {mark}, {row}: {column} was {cell}, is {found}", column == TRAINING


def main() -> None:
    """Command line of `python -m benchmarks.tables.against`."""
    assert __doc__
    parser = command_parser("benchmarks.tables.against", __doc__)
    parser.add_argument("commit", help="commit of the earlier results")
    arguments = parser.parse_args()
    with exit_on_input_error(), tempfile.TemporaryDirectory() as temporary:
        before, here = Path(temporary), Path(__file__).parents[2]
        checkout(arguments.commit, before)
        wrong = list(differing_figures(before, here))
        counted = sum(len(figures(result)) for folder in folders_of(before) for result in load_results(folder))
        shown = sum(len(table) for path in documents(before) for table in cells(path.read_text()).values())
        for line, training in differing_cells(before, here):
            if training:
                print(line)
            else:
                wrong.append(line)
    print(f"{counted} figures of results and {shown} cells of tables compared, {len(wrong)} differ (training apart)")
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
