"""mkdocs hooks: put the tables of measured results into pages, and the images of results beside them."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from benchmarks.page.choose import table
from benchmarks.page.gather import gather

ROOT = Path(__file__).parents[1]
CHOOSE = re.compile(r"^<!-- choose: (.*?) -->$", re.MULTILINE)
OUTSIDE = re.compile(r"(!?)\[([^\]]*)\]\(\.\./([^)\s#]*)[^)\s]*\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the images that lie with the results."""
    for path in sorted((ROOT / "results").rglob("*.png")):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each `<!-- choose: FAMILY -->` by its table, and each link out of `docs/` by the file's name."""
    markdown = CHOOSE.sub(lambda found: table(gather(ROOT / "results", []), found[1]), markdown)
    return OUTSIDE.sub(_inside, markdown)


def _inside(link: re.Match[str]) -> str:
    """An image of the results as the site has it; of another file its text and name."""
    image, text, path = link.groups()
    return f"![{text}]({path})" if image else f"`{path}`" if text == path else f"{text} (`{path}`)"
