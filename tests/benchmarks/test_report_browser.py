"""A report in a real browser, from disk: nothing is fetched, charts are drawn, whoever reads it and however."""

import sys

import pytest
from PIL import Image

from benchmarks.report import __main__ as report
from tests.helpers.browser import PHONE, Visit, needs_browser, until
from tests.helpers.planted_upgrades import CLASSES, save, upgrade

pytestmark = needs_browser
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A report with everything in it: names that are scripts, images, warnings."""
    folder = tmp_path_factory.mktemp("report")
    arrays = upgrade(0.8, 0.5)
    arrays["gallery_old"][3] = 0
    options = save(folder, arrays)
    (folder / "names.txt").write_text("\n".join([EVIL] * CLASSES))
    (folder / "pictures").mkdir()
    for n in range(80):
        Image.new("RGB", (20, 30), (3 * n, 0, 0)).save(folder / "pictures" / f"{n:02}.png")
    more = ["--class-names", str(folder / "names.txt"), "--query-images", str(folder / "pictures"), "--name", EVIL]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report", *options, *more, "-o", str(folder / "report.html")])
        report.main()
    return folder / "report.html"


@pytest.fixture
def visit(browser, path):
    """Opens the report; whatever it asks for or complains of fails the test."""
    visits = []

    def call(**options):
        visits.append(Visit(browser, path, **options))
        visits[-1].page.wait_for_selector("#curve .drawing svg")
        visits[-1].page.wait_for_selector("#distances .drawing svg")
        return visits[-1]

    yield call
    for each in visits:
        assert each.complaints == []
        assert each.elsewhere() == []
        each.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 900}], ids=["phone", "desk"])
def test_it_has_no_serious_fault_for_those_who_do_not_see_it_or_use_a_keyboard(visit, scheme, viewport):
    found = visit(color_scheme=scheme, viewport=viewport)
    assert found.violations() == []
    assert found.too_wide() == []


def test_the_verdict_and_the_curve_are_on_the_first_screen(visit):
    page = visit(viewport={"width": 1280, "height": 900}).page
    assert page.locator("h1").inner_text().startswith("Upgrade")
    assert page.locator("#curve .drawing svg").bounding_box()["y"] < 500
    assert page.locator(".callout").bounding_box()["y"] < 300


LEGEND = """() => {
  const right = (element) => element.getBoundingClientRect().right;
  const labels = [...document.querySelectorAll("#curve .drawing svg .role-legend-label text")];
  return labels.map((label) => right(document.querySelector("#curve .drawing svg")) - right(label));
}"""


def test_the_legend_is_within_the_drawing_however_narrow(visit):
    page = visit(viewport=PHONE).page
    assert len(page.evaluate(LEGEND)) >= 3
    assert min(page.evaluate(LEGEND)) >= 0
    page.set_viewport_size({"width": 1280, "height": 900})
    until(page, "document.querySelector('#curve .drawing svg').getBoundingClientRect().width > 500")
    assert min(page.evaluate(LEGEND)) >= 0


def test_names_are_shown_as_they_are(visit):
    page = visit().page
    assert EVIL in page.locator("header").inner_text()
    assert page.locator("#losers").inner_text().count(EVIL) >= 1
    assert page.locator("main img:not([src^='data:'])").count() == 0
    assert page.locator("main img").count() >= 1


def test_dark_mode_is_a_button_and_draws_charts_anew(visit):
    page = visit(color_scheme="light").page
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.wait_for_selector("#curve .drawing svg")


def test_a_keyboard_reaches_the_sections_and_the_figures(visit):
    page = visit().page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("nav a", has_text="Ways").focus()
    page.keyboard.press("Enter")
    until(page, "location.hash === '#ways'")
    summary = page.locator("#curve summary")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#curve table").is_visible()


def test_it_prints_in_light_colours(visit):
    page = visit(color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("header.top").is_visible()
    assert page.locator("h1").is_visible()
