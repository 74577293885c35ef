"""From arguments to the two files."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from benchmarks.config.named import is_config
from benchmarks.report import folder, own
from benchmarks.report.document import markdown
from benchmarks.report.findings import Findings
from benchmarks.report.inputs import load
from benchmarks.report.page import page
from benchmarks.report.story import document
from compat.errors import InputError
from compat.files import replace


def findings(arguments: argparse.Namespace) -> Findings:
    """From a folder of results, from the run of a config, or from embeddings of one's own."""
    if arguments.folder is None:
        return own.findings(load(arguments), arguments)
    if is_config(arguments.folder):
        from benchmarks.report.run import of_run

        given, served = of_run(arguments)
        return own.findings(given, arguments, served)
    return folder.findings(arguments)


def write(arguments: argparse.Namespace) -> str:
    """Make and write a report.

    Returns:
        What to print: the verdict, and where the report is.

    Raises:
        InputError: wrong input, or files that cannot be written.
    """
    found = document(findings(arguments))
    path = Path(arguments.output)
    texts = {path: page(found), path.with_suffix(".md"): markdown(found)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for to, text in texts.items():
            replace(to, partial(Path.write_text, data=text, encoding="utf-8"))
    except OSError as error:
        raise InputError(f"output: {path} ({error.strerror}), expected a file that can be written") from error
    return f"{found.headline}\n{found.verdict[0]}\nThe report is {path}, a summary {path.with_suffix('.md')}"
