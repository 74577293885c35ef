"""Documents: their code, commands, links and tables, and that the site of them works from disk."""

import importlib.util
import itertools
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.__main__ import COMMANDS
from benchmarks.page.budget import budget_of
from benchmarks.page.choose import SITUATIONS, choices, needs_of, rewriting, table
from benchmarks.page.families import families, rankings
from benchmarks.page.gather import gather
from benchmarks.perf.page import browser as chromium
from compat.embeddings import Embeddings
from compat.errors import InputError
from tests import ROOT
from tests.helpers.browser import Visit, needs_browser

DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
OWNED = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCUMENTS]
ALL = [*OWNED, *sorted((ROOT / "results").glob("*.md"))]
RUN_ELSEWHERE = ("live", "embeddings")  # by tests that have models and a store, and check what comes out


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


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.stem not in RUN_ELSEWHERE], ids=lambda p: p.stem)
def test_the_code_in_documents_runs(path):
    labels = np.arange(200) % 5
    old = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    new = old + 2 * np.eye(8, dtype=np.float32)[labels]
    scope = {"embeddings": Embeddings(old[:40], new[:40], old, new, labels[:40], labels)}
    for code in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(code, str(path), "exec"), dict(scope))


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_links_in_documents_lead_somewhere(path):
    text = path.read_text()
    assert set(re.findall(r"(?:^|`)compat-bench ([a-z]+)\b", text, re.MULTILINE)) <= COMMANDS.keys()
    for module in re.findall(r"python -m ((?:benchmarks|compat)[.\w]*\w)", text):
        assert importlib.util.find_spec(module), module
    for config in re.findall(r"(?<![\w/.])configs/[\w/]+\.yaml", text):
        assert (ROOT / config).exists() or config == "configs/methods/backward.yaml", config
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, heading = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings], target


@pytest.mark.parametrize("path", OWNED, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_table_is_wider_than_six_columns(path):
    rows = re.findall(r"^\|.*\|$", path.read_text(), re.MULTILINE)
    assert max((len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows), default=0) <= 6


def test_the_readme_has_at_most_150_lines_and_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert {"make bench", "make test"} <= {line.split("  ")[0] for line in text.splitlines()}


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
        best = max((row.mean.mean for row in possible), default=None)
        met = [row.mean.mean for asked, row in told if situation.allows(asked)]
        assert max(met, default=None) == best
    for situation, row in told:
        assert situation.allows(needs_of(row, anew))
    for (more, row), (less, other) in itertools.permutations(told, 2):
        assert not (more.allows(less) and row is other), (more, less)  # no row says what another says of less


def test_methods_that_write_old_items_anew_are_known(benchmarks):
    anew = rewriting(families(benchmarks)["own_pairs"])
    assert {"fct", "kernel_gallery", "forward_mcl_rho", "own_forward"} <= anew
    assert not {"independent", "rqt_mcl_rho", "own_procrustes", "own_calibration"} & anew
    assert not {"bt2", "oca", "bct"} & rewriting(families(benchmarks)["tuned"])


def test_a_family_of_choices_has_to_exist(benchmarks):
    assert "| `forward_mcl_rho` | training set, labels | may be written anew | one |" in table(benchmarks, "tuned")
    with pytest.raises(InputError, match="choose: 'none', expected one of tuned"):
        table(benchmarks, "none")


@pytest.mark.slow
def test_documents_are_built_without_a_warning_and_ask_nobody(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) == len(DOCUMENTS) + 1  # that for what is not found
    for page in pages:
        text = page.read_text()
        assert "<!-- choose" not in text
        assert "](../" not in text
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
