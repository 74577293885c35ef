"""Documents of the site: what they take from elsewhere, the code in them, and that all of it works from disk."""

import itertools
import re
import shutil
import subprocess
import sys

import pytest

from benchmarks.page.budget import budget_of
from benchmarks.page.choose import SITUATIONS, asked_by, choices, rewriting, table
from benchmarks.page.documents import expanded, section
from benchmarks.page.families import families, rankings
from benchmarks.page.gather import gather
from benchmarks.perf.page import browser as chromium
from compat.errors import InputError
from tests import ROOT
from tests.helpers.browser import Visit, needs_browser

DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def benchmarks():
    return gather(ROOT / "results", [])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All documents, built as `make site` does."""
    built = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(built)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr
    return built


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_the_code_in_documents_runs(path):
    """That of sections from elsewhere is run by the tests of the README and of methods outside the package."""
    for code in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(code, str(path), "exec"), {})


@pytest.mark.parametrize("family", ["tuned", "own_pairs", "own_pairs_heads_half"])
def test_the_method_to_take_is_the_best_of_those_that_one_can(benchmarks, family):
    """Against a plain search over every situation; and each situation finds its row in the table."""
    found = rankings(benchmarks)[family]
    anew = rewriting(families(benchmarks)[family])
    told = list(choices(found, anew))
    assert told
    for situation in SITUATIONS:
        possible = [
            row
            for row in found.ranked
            if set(budget_of([] if row.needs == "-" else row.needs.split(", "))) <= set(situation.budget)
            and (situation.rewritten or row.name not in anew)
            and row.encoder_passes_per_query <= situation.passes
        ]
        best = min((row.rank.mean for row in possible), default=None)
        met = [row.rank.mean for asked, row in told if situation.allows(asked)]
        assert min(met, default=None) == best
    for situation, row in told:
        assert situation.allows(asked_by(row, anew))
    for (more, row), (less, other) in itertools.permutations(told, 2):
        assert not (more.allows(less) and row is other), (more, less)  # no row says what another says of less


def test_methods_that_write_old_items_anew_are_known(benchmarks):
    anew = rewriting(families(benchmarks)["own_pairs"])
    assert {"fct", "kernel_gallery", "forward_mcl_rho", "own_forward"} <= anew
    assert not {"independent", "rqt_mcl_rho", "own_procrustes", "own_calibration"} & anew
    assert not {"bt2", "oca", "bct"} & rewriting(families(benchmarks)["tuned"])


def test_tables_and_sections_stand_where_a_page_names_them(tmp_path):
    (tmp_path / "A.md").write_text(
        "# A\n\n## One thing\n\n[b](B.md) [B.md](B.md) [c](https://c) ![d](d.png)\n\n## Two\n\nno\n"
    )
    assert expanded("x\n<!-- section: A.md One thing -->\ny", tmp_path) == "x\nb (`B.md`) `B.md` [c](https://c)\ny"
    text = expanded("<!-- choose: tuned -->", ROOT)
    assert text == table(gather(ROOT / "results", []), "tuned")
    assert "| `forward_mcl_rho` | training set, labels | may be written anew | one |" in text


def test_what_a_page_names_has_to_be_there(tmp_path, benchmarks):
    (tmp_path / "A.md").write_text("## One\n")
    with pytest.raises(InputError, match=r"section: 'Two' of .*A.md, expected one of One"):
        section(tmp_path / "A.md", "Two")
    with pytest.raises(InputError, match=r"section: .*B.md \(No such file"):
        section(tmp_path / "B.md", "One")
    with pytest.raises(InputError, match="choose: 'none', expected one of tuned"):
        table(benchmarks, "none")


@pytest.mark.slow
def test_documents_are_built_without_a_warning_and_ask_nobody(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) == len(DOCUMENTS) + 1  # that for what is not found
    for page in pages:
        text = page.read_text()
        assert "<!-- choose" not in text
        assert "<!-- section" not in text
        assert not re.search(r'<(?:script|img|iframe|link rel="stylesheet")[^>]*(?:src|href)="?https?:', text), page
    assert "ReverseQuery" in (site / "api" / "methods.html").read_text()


@pytest.mark.slow
@needs_browser
def test_documents_and_their_search_work_from_disk(site):
    with chromium() as browser:
        for name in ("index", "curve", "choose", "api/methods"):
            opened = Visit(browser, site / f"{name}.html")
            opened.page.wait_for_load_state("load")
            assert opened.complaints == []
            assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
        opened.page.locator("input.md-search__input").click()
        opened.page.keyboard.type("backfill_curve")
        opened.page.locator(".md-search-result__item").first.wait_for()
        opened.context.close()
        phone = Visit(browser, site / "choose.html", viewport={"width": 390, "height": 844})
        assert phone.page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_results_page_links_to_documents_that_lie_beside_it(tmp_path, monkeypatch):
    from benchmarks.page import __main__ as page

    shutil.copytree(ROOT / "results" / "digits_cores", tmp_path / "results" / "digits_cores")
    for expected in (False, True):
        monkeypatch.setattr(sys, "argv", ["page", str(tmp_path / "results"), "-o", str(tmp_path)])
        page.main()
        assert ('href="docs/index.html"' in (tmp_path / "index.html").read_text()) is expected
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs" / "index.html").write_text("")
