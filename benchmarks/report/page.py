"""A document as one HTML file."""

from __future__ import annotations

from pathlib import Path

from benchmarks.html import render, runtime
from benchmarks.report.document import Document
from benchmarks.report.thumbnails import thumbnail

HERE = Path(__file__).parent


def page(document: Document) -> str:
    """The text of the file.

    Raises:
        InputError: a package is missing.
    """
    style = HERE.joinpath("report.css").read_text()
    return render(
        HERE / "report.html.j2",
        document.title,
        scripts=[runtime()],
        styles=[style],
        document=document,
        thumbnail=thumbnail,
    )
