"""Fill the site's documents from elsewhere: sections of the README, tables of measured results.

A page has a line `<!-- section: FILE HEADING -->` in the place of a section of a Markdown file of the project, and
`<!-- choose: FAMILY -->` in the place of a table of `benchmarks.page.choose`. Paths of links in sections are shown, not
linked: the site has no such files.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.page.choose import table
from benchmarks.page.gather import gather
from compat.errors import InputError

MARK = re.compile(r"^<!-- (section|choose): (.*?) -->$", re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]*)\)")


def expand(text: str, root: Path) -> str:
    """Fill a page's marks.

    Args:
        text: Markdown.
        root: of the project, with the files and `results`.

    Raises:
        InputError: no such file, section or family.
    """

    def fresh(found: re.Match[str]) -> str:
        if found[1] == "choose":
            return table(gather(root / "results", []), found[2])
        name, _, heading = found[2].partition(" ")
        return section(root / name, heading)

    return MARK.sub(fresh, text)


def section(path: Path, heading: str) -> str:
    """Return the text below a heading of the second level, up to the next one.

    Raises:
        InputError: no such file or heading.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(f"section: {path} ({error.strerror}), expected a Markdown file") from error
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    if heading not in found:
        raise InputError(f"section: {heading!r} of {path}, expected one of {', '.join(found)}")
    return LINK.sub(_named, found[heading]).strip()


def _named(link: re.Match[str]) -> str:
    """Replace a link to a file by its text and the file's name; remove an image."""
    image, text, path = link.groups()
    return "" if image else f"{text} (`{path}`)" if text != path else f"`{path}`"
