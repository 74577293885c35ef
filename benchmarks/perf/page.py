"""Measure how large the page is and how long a browser takes with it, from disk. Needs Chromium and Playwright.

    python -m benchmarks.perf.page site/index.html -o results/page.json --picture results/page.png

Milliseconds are since navigation, of `performance.now` as the page marks them: `interactive`, when its table is there
and its controls answer, and `drawn`, when the first charts are. `sorted` is from a click on a heading to the next
frame after the table is there anew.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace

SORT = """async () => {
  const start = performance.now();
  document.querySelector('[data-column="AUC mAP"]').click();
  await new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
  return performance.now() - start;
}"""
MARKS = "Object.fromEntries(performance.getEntriesByType('mark').map((one) => [one.name, one.startTime]))"
SHOWN = "#benchmark=omniglot_tuned"  # where methods lie apart; where there is none such, all benchmarks
WINDOWS = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@contextmanager
def browser() -> Iterator[Any]:
    """Start a new headless Chromium.

    Raises:
        InputError: there is none, or no Playwright to drive it.
    """
    if (chromium := shutil.which("chromium") or shutil.which("chromium-browser")) is None:
        raise InputError("chromium: not found, expected it installed: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise InputError("playwright: not installed, expected it: pip install compat-bench[test]") from error

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield found
        finally:
            found.close()


def visit(page: Path, times: int) -> dict[str, Any]:
    """Return its size, and medians over some visits, each by a browser with an empty cache."""
    found: dict[str, Any] = {}
    for name, window in WINDOWS.items():
        visits = []
        for _ in range(times):
            with browser() as chromium:
                opened = chromium.new_page(viewport=window)
                opened.goto(page.resolve().as_uri())
                opened.wait_for_selector("html[data-drawn]")
                visits.append({**opened.evaluate(MARKS), "sorted": opened.evaluate(SORT)})
                version = chromium.version
        found[name] = {key: round(median(one[key] for one in visits)) for key in visits[0]}
    return {
        "megabytes": round(page.stat().st_size / 1e6, 2),
        "visits": times,
        "milliseconds": found,
        "browser": f"Chromium {version}",
        "cpu_cores": os.cpu_count(),
        "system": platform.system(),
    }


def picture(page: Path) -> bytes:
    """Save a PNG down to the curves, with few colours, in a window low enough for a short table."""
    with browser() as chromium:
        opened = chromium.new_page(viewport={"width": 1280, "height": 560})
        opened.goto(f"{page.resolve().as_uri()}{SHOWN}")
        opened.wait_for_selector("html[data-drawn]")
        end = opened.evaluate("document.querySelector('#curve details').getBoundingClientRect().top + scrollY")
        clip = {"x": 0, "y": 0, "width": 1280, "height": end}
        taken = opened.screenshot(full_page=True, clip=clip)
    image = Image.open(io.BytesIO(taken)).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    written = io.BytesIO()
    image.save(written, format="png", optimize=True)
    return written.getvalue()


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.perf.page`."""
    parser = command_parser("benchmarks.perf.page", __doc__)
    parser.add_argument("page", help="the page's index.html")
    parser.add_argument("--times", type=int, default=5, help="number of visits, for medians (default: 5)")
    parser.add_argument("-o", "--output", metavar="FILE", help="the figures as JSON")
    parser.add_argument("--picture", metavar="FILE", help="a PNG of the page")
    return parser


def main() -> None:
    """Command line of `python -m benchmarks.perf.page`."""
    with exit_on_input_error():
        arguments = parser().parse_args()
        page = Path(arguments.page)
        if not page.is_file():
            raise InputError(f"page: {page}, expected an index.html of python -m benchmarks.page")
        if arguments.times < 1:
            raise InputError(f"times: {arguments.times}, expected 1 or more")
        text = json.dumps(visit(page, arguments.times), indent=1)
        print(text)
        made = {arguments.output: f"{text}\n".encode()} if arguments.output else {}
        if arguments.picture:
            made[arguments.picture] = picture(page)
        for path, content in made.items():
            try:
                replace(Path(path), partial(Path.write_bytes, data=content))
            except OSError as error:
                raise InputError(f"output: {path} ({error.strerror}), expected a writable file") from error


if __name__ == "__main__":
    main()
