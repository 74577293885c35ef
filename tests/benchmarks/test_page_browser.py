"""The results page in a real browser, from disk: it shows, sorts, filters and draws, whoever uses it and however."""

import csv
import io
import sys

import pytest

from benchmarks.page import __main__ as page
from tests.helpers.browser import PHONE, Visit, needs_browser, until
from tests.helpers.planted_pages import COMMENT, IMAGE, SCRIPT, folders

pytestmark = needs_browser
DRAWN = "html[data-drawn]"
RESULT_OF_SCRIPT = f"result=digits_toy:{SCRIPT}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page of planted results."""
    root = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["page", str(folders(root / "results")), "-o", str(root)])
        page.main()
    return root / "index.html"


@pytest.fixture
def visit(browser, site):
    """Opens the page; whatever it asks for or complains of fails the test."""
    visits = []

    def call(address="", **options):
        visits.append(Visit(browser, site, address, **options))
        visits[-1].page.wait_for_selector(DRAWN)
        return visits[-1].page

    yield call
    for each in visits:
        assert each.complaints == []
        assert each.elsewhere() == []
        each.context.close()


def names(opened):
    return opened.locator("#board tbody th[scope=row] a").all_inner_texts()


def column(opened, name):
    place = opened.locator("#board thead button").all_inner_texts().index(name)
    return opened.locator(f"#board tbody tr > :nth-child({place + 2})").all_text_contents()


def test_it_opens_with_one_benchmark_and_names_that_try_to_be_html_as_text(visit):
    opened = visit()
    assert names(opened) == ["rqt", SCRIPT, "kernel", "bct", "independent"]
    assert opened.locator("#count").inner_text() == "5 of 40 rows"
    assert "it broke <img" in opened.locator("#systems").inner_text()
    assert opened.locator("img").count() == 0
    until(opened, "document.querySelectorAll('figure.chart svg.marks').length === 3")
    assert SCRIPT[:20] in opened.locator("#curve svg").text_content()


def test_a_heading_sorts_both_ways_and_says_so(visit):
    opened = visit()
    area = opened.locator("#board thead button", has_text="AUC mAP")
    area.click()
    assert names(opened)[0] == "rqt"
    assert opened.locator('th[aria-sort="descending"]').inner_text().startswith("AUC mAP")
    opened.locator("#board thead button", has_text="AUC mAP").click()
    assert names(opened) == ["independent", "bct", "kernel", SCRIPT, "rqt"]
    assert opened.locator("th[aria-sort]").count() == 1
    opened.locator("#board thead button", has_text="method").click()
    assert names(opened) == sorted(names(opened), key=str.lower)


def test_filters_by_data_set_order_passes_budget_and_words(visit):
    opened = visit()
    opened.select_option("[name=dataSet]", f"Omni{IMAGE}")
    assert opened.locator("#board thead button", has_text="benchmark").count() == 1
    assert set(column(opened, "benchmark")) == {f"omni {COMMENT}_toy"}
    opened.select_option("[name=order]", "")
    opened.select_option("[name=merge]", "")
    assert len(names(opened)) == 20
    opened.select_option("[name=passes]", "2")
    assert {name.split(" + ")[0] for name in names(opened)} == {"independent"}
    opened.select_option("[name=passes]", "")
    opened.uncheck("[name=budget][value=labels]")
    assert {name.split(" + ")[0] for name in names(opened)} == {"independent", "kernel", SCRIPT}
    opened.uncheck("[name=budget][value='training set']")
    assert {name.split(" + ")[0] for name in names(opened)} == {"independent", SCRIPT}
    opened.check("[name=budget][value='training set']")
    opened.fill("[name=q]", "kernel entropy")
    assert names(opened) == ["kernel + entropy", "kernel + entropy + z_score"]
    opened.fill("[name=q]", "nothing like it")
    assert opened.locator("#count").inner_text() == "0 of 40 rows"


def test_the_address_keeps_all_that_was_chosen(visit):
    opened = visit()
    opened.select_option("[name=order]", "entropy")
    opened.fill("[name=q]", "k")
    opened.check("#wide")
    opened.locator("#board tbody input").first.check()
    opened.select_option("[name=metric]", "cmc_1")
    again = visit(opened.evaluate("location.hash.slice(1)"))
    for look in (opened, again):
        assert names(look) == ["kernel + entropy"]
        assert look.locator("#board thead button", has_text="sum of drops").count() == 1
        assert look.locator("#board tbody input:checked").count() == 1
        assert look.input_value("[name=metric]") == "cmc_1"


@pytest.mark.parametrize(
    "address", ["metric=none&by=x&cost=y&dataSet=z&sort=q&pick=a|b&result=c", "=&&%", "benchmark=%E0%A4%A"]
)
def test_an_address_that_says_nothing_of_sense_is_no_error(visit, address):
    assert visit(address).locator("#board thead").inner_text()


def test_curves_are_of_the_rows_that_are_ticked(visit):
    opened = visit()
    for name in ("kernel", "bct"):
        opened.locator("#board tbody tr", has=opened.locator(f"th a:text-is('{name}')")).locator("input").check()
    text = "document.querySelector('#curve svg').textContent"  # drawn when no click follows: the first alone, or both
    until(opened, f"['kernel', 'bct', 'old system', 'new system'].every((name) => {text}.includes(name))")
    until(opened, f"!{text}.includes('rqt') && {text}.includes('bct')")
    until(opened, "document.querySelectorAll('#curve tbody tr').length === 2")
    row = opened.locator("#curve tbody tr").first.locator("td, th").all_text_contents()
    assert row == ["digits_toy", "kernel", "22.00", "36.05", "60.00"]  # mean of the seeds' 36.0 and 36.1
    opened.locator("#clear").click()
    until(opened, "document.querySelector('#curve svg').textContent.includes('rqt')")
    assert opened.locator("#clear").is_disabled()


PANELS = {"order": ["entropy", "random"], "merge": ["raw", "z_score"], "dataSet": ["digits_toy", "omni"]}


@pytest.mark.parametrize(("by", "panels"), PANELS.items())
def test_small_multiples_have_a_panel_for_each(visit, by, panels):
    opened = visit("pick=digits_toy:rqt|digits_toy:kernel")
    opened.select_option("[name=by]", by)
    until(opened, f"document.querySelector('#curve svg').textContent.includes({panels[1]!r})")
    text = opened.locator("#curve svg").text_content()
    assert all(panel in text for panel in panels)
    assert opened.locator("#curve tbody tr").count() == 4  # two methods in each panel


@pytest.mark.parametrize("cost", ["passes", "bytes", "seconds"])
def test_gain_is_drawn_against_each_cost(visit, cost):
    opened = visit(f"cost={cost}")
    assert opened.locator("#against tbody tr").count() == (4 if cost == "bytes" else 5)  # bytes of one are not known
    assert "rqt" in opened.locator("#against svg").text_content()


@pytest.mark.parametrize("chart", ["#curve", "#against", "figure[id^=ranks]"])
def test_a_point_under_the_mouse_tells_its_figures(visit, chart):
    opened = visit()
    until(opened, f"document.querySelector('{chart} svg.marks')")
    point = opened.locator(f"{chart} svg g.mark-symbol.role-mark path").last
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    tip = opened.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "method" in tip.inner_text()
    assert tip.locator("script, img").count() == 0


def test_each_number_links_to_how_it_was_made(visit):
    opened = visit()
    opened.locator("#board tbody tr").first.locator("td a").nth(1).click()
    told = opened.locator("#detail").inner_text()
    of_result = ("digits_toy", "classes 50 → 100 %", f"0{SCRIPT}", "compat.methods.ReverseQuery", "arXiv 2301.03767")
    of_making = ("c0ffee<img", "2026-01-02", "a.yaml", "b.yaml", "benchmarks.table", "psi maps the new model's query")
    assert "[object" not in told
    for part in (*of_result, *of_making):
        assert part in told, part
    assert opened.locator("#detail a[href='https://arxiv.org/abs/2301.03767']").count() == 1
    assert "result=digits_toy" in opened.evaluate("location.hash")
    again = visit(opened.evaluate("location.hash.slice(1)"))
    assert again.locator("#detail[open] h2").inner_text() == "rqt"
    again.keyboard.press("Escape")
    until(again, "!document.querySelector('#detail').open && !location.hash.includes('result')")


def test_the_csv_has_the_rows_that_are_shown(visit):
    opened = visit("order=&merge=")
    with opened.expect_download() as download:
        opened.locator("#csv").click()
    lines = list(csv.DictReader(io.StringIO(download.value.path().read_text(), newline="")))
    assert [line["method"] for line in lines] == [name.split(" + ")[0] for name in names(opened)]
    assert lines[0]["relative gain (%)"] == column(opened, "relative gain (%)")[0].split(" ± ")[0]
    assert lines[0]["seeds"] == "2 orders"


def test_the_theme_is_the_systems_until_another_is_chosen(visit):
    opened = visit(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = opened.evaluate(background)
    assert opened.locator("#theme").get_attribute("aria-pressed") == "true"
    opened.locator("#theme").click()
    light = opened.evaluate(background)
    assert light == "rgb(255, 255, 255)" != dark
    opened.reload()
    opened.wait_for_selector(DRAWN)
    assert opened.evaluate(background) == light  # kept
    line = "getComputedStyle(document.querySelector('#curve svg g.mark-line path')).stroke"
    before = opened.evaluate(line)
    opened.locator("#theme").click()
    until(opened, f"{line} !== {before!r}")  # charts follow


def test_everything_can_be_done_by_keyboard(visit):
    opened = visit()
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.activeElement.id") == "content"
    assert "content" not in opened.evaluate("location.hash")  # which is the state's
    opened.locator("[name=q]").focus()
    opened.keyboard.type("kernel")
    assert names(opened) == ["kernel"]
    opened.keyboard.press("Control+A")
    opened.keyboard.press("Delete")
    opened.keyboard.press("Tab")  # data set
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.name") == "setting"
    seen = []
    for _ in range(40):
        opened.keyboard.press("Tab")
        seen.append(
            opened.evaluate(
                "document.activeElement.dataset.column || document.activeElement.id || document.activeElement.name"
            )
        )
        if seen[-1] == "AUC mAP":
            break
    assert seen[-1] == "AUC mAP", seen
    opened.keyboard.press("Enter")
    opened.keyboard.press("Space")
    assert opened.evaluate("document.activeElement.dataset.column") == "AUC mAP"  # focus stays for the next press
    assert names(opened)[0] == "independent"
    box = opened.locator("#board tbody input").nth(1)
    box.focus()
    opened.keyboard.press("Space")
    assert opened.locator("#board tbody input:checked").count() == 1
    assert opened.evaluate("document.activeElement.checked")
    opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    assert opened.locator("#detail[open] h2").inner_text() == "bct"
    opened.keyboard.press("Escape")
    assert opened.evaluate("document.activeElement.textContent") == "bct"


@pytest.mark.parametrize("address", ["", "order=&merge=&benchmark=&wide=1", "by=dataSet", RESULT_OF_SCRIPT])
@pytest.mark.parametrize("width", [390, 768])
def test_a_narrow_page_does_not_scroll_sideways(browser, site, address, width):
    opened = Visit(browser, site, address, viewport={**PHONE, "width": width})
    opened.page.wait_for_selector(DRAWN)
    assert opened.too_wide() == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.complaints == []
    opened.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("address", ["", "wide=1&order=&pick=digits_toy:rqt&by=order", "result=digits_toy:rqt"])
def test_axe_finds_no_serious_fault(browser, site, scheme, address):
    opened = Visit(browser, site, address, color_scheme=scheme)
    opened.page.wait_for_selector(DRAWN)
    until(opened.page, "document.querySelectorAll('figure.chart svg.marks').length === 3")
    for summary in opened.page.locator("figure summary, .method summary").all() if not address else []:
        summary.click()
    assert opened.violations() == []
    opened.context.close()


def test_curves_are_drawn_against_what_is_spent(visit):
    opened = visit("pick=digits_toy:rqt|digits_toy:independent|digits_toy:bct")
    until(opened, "document.querySelectorAll('#curve tbody tr').length === 3")
    opened.select_option("[name=x]", "seconds")  # 20 items, 10 s: 4 s at the start, 2 s at half
    until(opened, "document.querySelectorAll('#curve tbody tr').length === 2")
    rows = opened.locator("#curve tbody tr").all()
    cells = [row.locator("td, th").all_text_contents() for row in rows]
    assert cells[0][1:] == ["rqt", "22.00 at 40 %", "40.05 at 110 %", "60.00 at 160 %"]
    assert cells[1][1:] == ["independent", "22.00 at 0 %", "30.05 at 50 %", "60.00 at 100 %"]
    text = "document.querySelector('#curve svg').textContent"
    until(opened, f"{text}.includes('seconds spent, in plain backfills')")
    assert "The cost of 1 was not measured." in opened.locator("#curve-description").inner_text()
    assert "x=seconds" in opened.url
    opened.select_option("[name=x]", "million")
    until(opened, f"{text}.includes('1 million items')")
    assert opened.locator("#curve tbody tr").first.locator("td").all_text_contents()[2] == "40.05 at 70 %"
    opened.select_option("[name=x]", "bytes")
    until(opened, f"{text}.includes('bytes written')")
    assert opened.locator("#curve tbody tr").first.locator("td").all_text_contents()[1] == "22.00 at 100 %"
