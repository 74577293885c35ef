"""A report as a document: sections of plain blocks, written as HTML and Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from benchmarks.html import Chart


class Text(NamedTuple):
    """A paragraph."""

    text: str
    kind: str = "text"


class Bullets(NamedTuple):
    """A list of sentences; `tone` is "warn" for warnings."""

    items: Sequence[str]
    tone: str = ""
    kind: str = "bullets"


class DocumentTable(NamedTuple):
    """A table; the columns in `words` hold text."""

    label: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = ()
    kind: str = "table"


class Drawn(NamedTuple):
    """A chart; in Markdown its description."""

    chart: Chart
    kind: str = "chart"


class Pictures(NamedTuple):
    """Images with captions; see `benchmarks.report.write`."""

    label: str
    images: Sequence[tuple[str, Sequence[Path]]]
    kind: str = "pictures"


Block: TypeAlias = "Text | Bullets | DocumentTable | Drawn | Pictures"


class Section(NamedTuple):
    """A heading with its blocks; `name` is its anchor, `short` its name in the menu."""

    name: str
    short: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: its name.
        headline: the verdict, in a few words.
        tone: "good", "warn" or "".
        verdict: sentences below it.
        facts: terms and values.
        first: blocks of the first screen.
        sections: the rest.
    """

    title: str
    headline: str
    tone: str
    verdict: Sequence[str]
    facts: Sequence[tuple[str, str]]
    first: Sequence[Block]
    sections: Sequence[Section] = field(default_factory=list)


def plain(text: str) -> str:
    """Escape a text for Markdown: no HTML, no marks, on one line.

    Example:
        >>> plain("a <b> | *c*")
        'a &lt;b&gt; \\| \\*c\\*'
    """
    line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*\[\]|])", r"\\\1", line)


def markdown(document: Document) -> str:
    """Format the report as Markdown, without its charts and images."""
    lines = [f"# {plain(document.title)}", "", f"**{plain(document.headline)}**", ""]
    for sentence in document.verdict:
        lines += [plain(sentence), ""]
    for block in document.first:
        lines += _block(block)
    for section in document.sections:
        lines += [f"## {plain(section.title)}", ""]
        for block in section.blocks:
            lines += _block(block)
    lines += [f"- {plain(term)}: {plain(value)}" for term, value in document.facts]
    return "\n".join(lines).rstrip() + "\n"


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        return [plain(block.text), ""]
    if isinstance(block, Bullets):
        return [*(f"- {plain(item)}" for item in block.items), ""]
    if isinstance(block, DocumentTable):
        return [*_table(block.columns, block.rows, block.words), ""]
    if isinstance(block, Drawn):
        numbers = _table(block.chart.columns, block.chart.rows, ()) if block.chart.rows else []
        return [
            f"{plain(block.chart.title)}. {plain(block.chart.description)}",
            "",
            *numbers,
            *([""] if numbers else []),
        ]
    return []


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int]) -> list[str]:
    marks = ["---" if place == 0 or place in words else "--:" for place in range(len(columns))]
    return [
        f"| {' | '.join(row)} |"
        for row in ([plain(c) for c in columns], marks, *([plain(str(c)) for c in r] for r in rows))
    ]
