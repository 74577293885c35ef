"""A real headless Chromium for tests of pages, and all that a page did which it should not."""

import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


def until(page, condition: str) -> None:
    """Wait until an expression is true; as a function, since pages that forbid `eval` let no text be asked again."""
    page.wait_for_function(f"() => {condition}")


class Visit:
    """A page that was opened from disk: `page` of Playwright, and what went wrong in it.

    Args:
        browser: of `chromium`.
        path: of the HTML file.
        address: what stands after the `#`.
        options: of Playwright's contexts, such as color_scheme and viewport.
    """

    def __init__(self, browser, path: Path, address: str = "", **options):
        self.context = browser.new_context(**{"viewport": DESK, "color_scheme": "light", **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(8000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._alert)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.path = path
        self.page.goto(f"{path.as_uri()}{address and '#' + address}")

    def _alert(self, dialog):
        self.complaints.append(f"a script of a name ran: {dialog.message}")
        dialog.dismiss()

    def elsewhere(self) -> list[str]:
        """Requests to anything but the file itself and what it made in memory."""
        own = (self.path.as_uri(), "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]

    def too_wide(self) -> list[str]:
        """Elements that reach beyond the page, if it scrolls sideways."""
        return self.page.evaluate(
            """() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, .drawing"))
            .map((e) => e.outerHTML.slice(0, 100))"""
        )

    def violations(self) -> list[tuple[str, str]]:
        """What axe-core finds that is serious or critical: its rule, and where."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        bad = [one for one in found if one["impact"] in ("serious", "critical")]
        return [(one["id"], node["html"][:200]) for one in bad for node in one["nodes"]]
