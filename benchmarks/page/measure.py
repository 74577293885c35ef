"""Measure how large the page is and how long a browser takes with it, from disk. Needs Chromium and Playwright.

    python -m benchmarks.page.measure site/index.html -o results/page.json

Milliseconds are since navigation, of `performance.now` as the page marks them: `interactive`, when its table is there
and its controls answer, and `drawn`, when the first charts are. `sorted` is from a click on a heading to the next
frame after the table and its charts are drawn anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.experiment.exit import Parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace

SORT = """async () => {
  const start = performance.now();
  document.querySelector('[data-column="AUC mAP"]').click();
  await new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
  return performance.now() - start;
}"""
MARKS = "Object.fromEntries(performance.getEntriesByType('mark').map((one) => [one.name, one.startTime]))"
WINDOWS = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


def measure(page: Path, times: int) -> dict[str, Any]:
    """Median over some visits, each by a browser that has nothing of the page yet, in milliseconds.

    Raises:
        InputError: no such page, or no browser.
    """
    if not page.is_file():
        raise InputError(f"page: {page}, expected an index.html of python -m benchmarks.page")
    if (chromium := shutil.which("chromium") or shutil.which("chromium-browser")) is None:
        raise InputError("chromium: not found, expected it installed: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise InputError("playwright: not installed, expected it: pip install compat-bench[test]") from error

    found: dict[str, Any] = {}
    with sync_playwright() as playwright:
        for name, window in WINDOWS.items():
            visits = []
            for _ in range(times):
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                opened = browser.new_page(viewport=window)  # type: ignore[arg-type]
                opened.goto(page.resolve().as_uri())
                opened.wait_for_selector("html[data-drawn]")
                visits.append({**opened.evaluate(MARKS), "sorted": opened.evaluate(SORT)})
                version = browser.version
                browser.close()
            found[name] = {key: round(median(visit[key] for visit in visits)) for key in visits[0]}
    return {
        "megabytes": round(page.stat().st_size / 1e6, 2),
        "visits": times,
        "milliseconds": found,
        "browser": f"Chromium {version}",
        "cpu_cores": os.cpu_count(),
        "system": platform.system(),
    }


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.page.measure`."""
    assert __doc__
    head, usage = __doc__.split("\n\n", 1)
    parser = Parser(
        prog="python -m benchmarks.page.measure",
        description=head,
        epilog=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("page", help="the page's index.html")
    parser.add_argument("--times", type=int, default=5, help="visits, of which the median counts (default: 5)")
    parser.add_argument("-o", "--output", metavar="FILE", help="the figures as JSON")
    return parser


def main() -> None:
    """Command line of `python -m benchmarks.page.measure`."""
    arguments = parser().parse_args()
    with exit_on_input_error():
        if arguments.times < 1:
            raise InputError(f"times: {arguments.times}, expected 1 or more")
        text = json.dumps(measure(Path(arguments.page), arguments.times), indent=1)
        print(text)
        if arguments.output:
            try:
                replace(Path(arguments.output), lambda file: file.write_text(f"{text}\n"))
            except OSError as error:
                raise InputError(f"output: {arguments.output} ({error.strerror}), expected a file") from error


if __name__ == "__main__":
    main()
