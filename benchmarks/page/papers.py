"""Read a method's papers, and its differences from them, from its class's docstring alone."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from benchmarks.artifacts.source import file_of, find, tree_of

ARXIV = re.compile(r"arXiv[:\s]*(\d{4}\.\d{4,5})")
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example|Examples|Yields):\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Described:
    """A class of methods.

    Attributes:
        class_path: as in configs.
        paragraphs: of its docstring up to its arguments: its computation, and its differences from its paper.
        papers: their arXiv numbers, in the class's docstring, or else in its module's.
    """

    class_path: str
    paragraphs: list[str]
    papers: list[str]

    @property
    def name(self) -> str:
        """Name without its package."""
        return self.class_path.rpartition(".")[2]


def describe(class_path: str) -> Described:
    """Describe a class by its source; empty if it is not found."""
    found = find(class_path)
    if found is None:
        return Described(class_path, [], [])
    file = file_of(found.module)
    own = ast.get_docstring(found.node) or ""
    module = ast.get_docstring(tree_of(file)) or "" if file else ""
    text = SECTION.split(own)[0]
    papers = ARXIV.findall(text) or ARXIV.findall(module)
    return Described(
        class_path, [" ".join(part.split()) for part in text.split("\n\n") if part.strip()], [*dict.fromkeys(papers)]
    )
