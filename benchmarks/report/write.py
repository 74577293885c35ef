"""Write a report: one HTML file with its images inside, and a summary in Markdown."""

from __future__ import annotations

import argparse
import base64
import io
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from benchmarks.config.named import is_config
from benchmarks.html import render, runtime
from benchmarks.report import from_embeddings, from_results
from benchmarks.report.document import Document, markdown
from benchmarks.report.findings import Findings
from benchmarks.report.inputs import load
from benchmarks.report.story import document
from compat.data.files import printable, read_pixels
from compat.errors import InputError
from compat.files import replace

HERE = Path(__file__).parent
EDGE = 72  # pixels of the longer side


class Thumbnail(NamedTuple):
    """An image in a page; `uri` is empty where the file could not be read."""

    name: str
    uri: str


def thumbnail(path: Path) -> Thumbnail:
    """Read and shrink an image; a missing or unreadable one has its name alone."""
    name = printable(path.name)
    try:
        small = Image.fromarray(read_pixels(path))
    except InputError:
        return Thumbnail(name, "")
    small.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return Thumbnail(name, f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}")


def page(document: Document) -> str:
    """Render the HTML file.

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


def findings(arguments: argparse.Namespace) -> Findings:
    """Compute the findings, from a folder of results, a config's run, or the user's embeddings."""
    if arguments.folder is None:
        return from_embeddings.findings(load(arguments), arguments)
    if is_config(arguments.folder):
        from benchmarks.report.from_config import of_run

        given, served = of_run(arguments)
        return from_embeddings.findings(given, arguments, served)
    return from_results.findings(arguments)


def write(arguments: argparse.Namespace) -> str:
    """Make and write a report.

    Returns:
        Text to print: the verdict, and the path of the report.

    Raises:
        InputError: wrong input, or unwritable files.
    """
    found = document(findings(arguments))
    path = Path(arguments.output)
    texts = {path: page(found), path.with_suffix(".md"): markdown(found)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for to, text in texts.items():
            replace(to, partial(Path.write_text, data=text, encoding="utf-8"))
    except OSError as error:
        raise InputError(f"output: {path} ({error.strerror}), expected a writable file") from error
    return f"{found.headline}\n{found.verdict[0]}\nThe report is {path}, a summary {path.with_suffix('.md')}"
