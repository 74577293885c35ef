"""What a method's class says of itself: its papers and how it differs from them, read from the docstring alone."""

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
        class_path: as configs have it.
        paragraphs: of its docstring up to its arguments: what it computes, and where it differs from its paper.
        papers: their numbers at arXiv, of the class's docstring, or else of its module's.
    """

    class_path: str
    paragraphs: list[str]
    papers: list[str]

    @property
    def name(self) -> str:
        """Without its package."""
        return self.class_path.rpartition(".")[2]


def describe(class_path: str) -> Described:
    """What the source of a class says; nothing where it is not to be found."""
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
