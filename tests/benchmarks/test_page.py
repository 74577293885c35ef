"""The results page as a file: its figures, what it says of methods and settings, and bad input."""

import json
import re
import sys
from typing import get_args

import pytest

from benchmarks.page import __main__ as page
from benchmarks.page.budget import KINDS, budget_of, kinds_of
from benchmarks.page.families import families, rankings, unseen
from benchmarks.page.gather import gather
from benchmarks.page.papers import describe
from benchmarks.page.payload import UNIT, payload
from benchmarks.page.setting import data_set_of, heads_miss_classes, setting_of
from benchmarks.perf import page as measure
from benchmarks.tables.table import tables
from compat.needs import Need
from compat.results import collect, load_results
from compat.results.summaries import HEADLINE, SUMMARIES
from tests import ROOT
from tests.helpers.planted_pages import COMMENT, IMAGE, SCRIPT, folders
from tests.helpers.running import refused
from tests.helpers.toy import RESULT, curved, labelled


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command; returns its exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["page", *map(str, arguments)])
        code: object = 0
        try:
            page.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def data_in(path):
    """The data of a page's script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def cells_of(markdown):
    """A Markdown table as rows: the name of each column to its cell."""
    lines = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


@pytest.mark.parametrize("name", ["digits_tuned", "tiny_imagenet_methods", "tiny_imagenet_small_extended_backbone"])
def test_its_figures_are_those_of_the_table(name):
    """One folder with trainings, one with queries, one where a gain is large; every row and column."""
    folder = ROOT / "results" / name
    printed = cells_of(tables(folder))
    shown = payload(gather(folder, []))["rows"]
    assert len(shown) == len(printed)
    for row, line in zip(shown, printed, strict=True):
        area = line["AUC mAP (%)"]
        assert row["name"] == line["method"]
        assert row["cells"] == [
            area.strip("* ≈"),
            *(line[f"{column.label} (%)"] for column in list(SUMMARIES.values())[1:]),
        ]
        assert row["mark"] == ("best" if "*" in area else "equal" if "≈" in area else "")
        assert row["seeds"] == line["seeds"]
        assert str(row["passes"]) == line["encoder passes per query"]
        needs = dict.fromkeys(need for needs in row["needs"].values() for need in needs)
        assert line["needs"] == (", ".join(needs) or "-")
        assert row["tuning"] == line.get("tuning", row["tuning"])


def test_curves_are_means_in_bands_from_the_lowest_to_the_highest_seed(tmp_path):
    seeds = [labelled(curved(mean_ap=[0.2, 0.3 + shift, 0.6]), seed=n) for n, shift in enumerate((0, 0.06))]
    collect(tmp_path / "toy", seeds)
    (row,) = payload(gather(tmp_path, []))["rows"]
    mean, low, high = ([value / UNIT for value in curve] for curve in row["curves"]["mean_ap"])
    assert (mean, low, high) == ([0.2, 0.33, 0.6], [0.2, 0.3, 0.6], [0.2, 0.36, 0.6])
    assert len(row["curves"]["cmc_1"]) == 1  # the same in both


def test_each_result_names_its_making(tmp_path):
    found = payload(gather(folders(tmp_path), []))
    row = next(row for row in found["rows"] if row["method"] == "rqt")
    bct = next(row for row in found["rows"] if row["method"] == "bct")
    benchmark = found["benchmarks"][row["benchmark"]]
    assert [benchmark["commands"][place].split()[3] for place in row["commands"]] == ["a.yaml", "b.yaml"]
    assert [benchmark["commands"][place].split()[3] for place in bct["commands"]] == ["b.yaml"]  # the other has --only
    assert {name for result in row["results"] for name in result[5]} == benchmark["provenance"].keys()
    assert "class_path: compat.methods.ReverseQuery" in row["spec"]
    assert "compat.data.Digits" in benchmark["config"]


def test_the_committed_results_are_under_four_megabytes_and_each_method_is_described(run, tmp_path):
    code, printed, errors = run(ROOT / "results", "-o", tmp_path / "site")
    assert (code, errors) == (0, "")
    path = tmp_path / "site" / "index.html"
    assert str(path) in printed
    assert path.stat().st_size < 4_000_000
    found = data_in(path)
    committed = {p.parent.name for p in (ROOT / "results").glob("*/results.jsonl*")}
    assert {one["folder"] for one in found["benchmarks"]} == committed
    results = sum(len(load_results(ROOT / "results" / name)) for name in committed)
    assert sum(len(row["results"]) for row in found["rows"]) == results
    [first] = [one["folder"] for one in found["benchmarks"] if one["name"] == found["start"]]
    metrics = load_results(ROOT / "results" / first)[0].curves.keys()
    assert HEADLINE.keys() <= metrics  # what is seen first has all three
    text = path.read_text()
    for row in found["rows"]:
        assert f'id="method-{row["classPath"]}"' in text
        assert row["spec"]
        assert row["commands"]
    body = text.split('id="data"')[0].split("</style>")[1]
    assert not re.search(r'(?:src|href)="(?!#|https://arxiv\.org/abs/)', body)


def test_what_is_said_of_a_method_is_its_docstring():
    rqt = describe("compat.methods.ReverseQuery")
    assert rqt.papers == ["2301.03767"]
    assert rqt.paragraphs[0] == "psi maps the new model's query into the old space (arXiv 2301.03767)."
    assert not any("Args:" in paragraph or "blocks:" in paragraph for paragraph in rqt.paragraphs)
    assert describe("compat.methods.KernelGallery").paragraphs
    assert describe("nowhere.Method").papers == describe("").papers == []


@pytest.mark.parametrize("need", get_args(Need))
def test_every_need_has_its_place_in_the_budget(need):
    assert kinds_of(need) <= set(KINDS)
    assert ("labels" in kinds_of(need)) == ("labels" in need)
    assert ("training set" in kinds_of(need)) >= need.startswith("training")


def test_a_budget_is_of_all_needs():
    assert budget_of(["own pairs", "old gallery"]) == []
    assert budget_of(["old classifier", "training labels"]) == ["training set", "labels", "old head"]
    assert budget_of(["side-information"]) == ["other"]


def test_settings_are_told_from_the_config():
    def config(old, new, **more):
        return {"generations": ["old", "new"], "old": {"sees": old}, "new": {"sees": new}, **more}

    half = {"classes": 0.5, "images": 1.0}
    assert setting_of(config(half, {"classes": 1.0})) == "classes 50 → 100 %"
    assert setting_of(config({"images": 0.3}, {})) == "images 30 → 100 %"
    assert setting_of(config({"classes": 0.3}, {"classes": [0.3, 1.0]})) == "classes 30 → 30 to 100 %"
    assert setting_of(config(half, {}, heads={"sees": half})) == "classes 50 → 100 %, heads see 50 % of classes"
    other = config(half, half, data={"init_args": {"gallery_classes": [0.5, 1.0]}})
    assert setting_of(other) == "gallery has 50 to 100 % of classes"
    assert setting_of({}) == "the same twice"
    assert data_set_of({"data": {"class_path": "compat.data.Digits", "init_args": {"root": "a/b"}}}) == "Digits"
    assert data_set_of({"data": {"class_path": "compat.data.ImageFolder"}}) == "ImageFolder"
    assert data_set_of({}) == "unknown"


def test_families_ask_the_same_of_several_data_sets():
    found = families(gather(ROOT / "results", []))
    three = [f"{name}_bigger_tuned" for name in ("digits", "fashion_mnist", "omniglot")]
    four = [f"{name}_tuned" for name in ("digits", "fashion_mnist", "omniglot", "tiny_imagenet_small")]
    assert [one.name for one in found["bigger_tuned"]] == three
    assert [one.name for one in found["tuned"]] == four
    names = [one.name for members in found.values() for one in members]
    assert len(names) == len(set(names))


def test_settings_that_miss_classes_stand_beside_the_one_that_sees_all():
    found = unseen(gather(ROOT / "results", []))
    names = ["digits_own_pairs", "digits_own_pairs_heads_half", "digits_own_pairs_open_class"]
    assert [one.name for one in found["digits_own_pairs"]] == names
    assert [one.name for one in found["omniglot_tuned"]] == ["omniglot_tuned", "omniglot_tuned_open_class"]
    assert "tiny_imagenet_small_extended_backbone" not in {one.name for some in found.values() for one in some}
    assert not heads_miss_classes({"generations": ["old", "new"], "old": {"sees": {"classes": 0.5}}})
    assert heads_miss_classes({"data": {"init_args": {"gallery_classes": [0.5, 1.0]}}})


def test_ranks_are_of_the_plain_order_and_merge_rule(tmp_path):
    (found,) = rankings(gather(folders(tmp_path), [])).values()
    assert [row.name for row in found.ranked] == ["rqt", SCRIPT, "kernel", "bct", "independent"]
    assert found.blocks == {"digits_toy": 1, f"omni {COMMENT}_toy": 1}


def test_names_are_escaped_wherever_they_stand(run, tmp_path):
    code, _, errors = run(folders(tmp_path / "results"), "-o", tmp_path)
    assert (code, errors) == (0, "")
    text = (tmp_path / "index.html").read_text()
    for tried in (SCRIPT, IMAGE, "<!--"):
        assert tried not in text
    assert text.count("<script") == text.count("</script>") == 8  # of the page, none of a name


def wrong(line):
    """The line with a figure that is none."""
    return json.dumps({**json.loads(line), "old_mean_ap": "x"})


def test_a_damaged_folder_is_named_and_the_rest_shown(run, tmp_path):
    root = folders(tmp_path / "results")
    lines = (root / "digits_toy" / "results.jsonl").read_text().splitlines()
    (root / "digits_toy" / "results.jsonl").write_text("\n".join([lines[0][:50], wrong(lines[1]), *lines[2:]]))
    for name, content in {"newer": '{"layout": 9}\n', "empty": ""}.items():
        (root / name).mkdir()
        (root / name / "results.jsonl").write_text(content)
    configs = {"odd": "config: [1]", "odder": "config: {old: {sees: {classes: many}}}", "torn": "config: {"}
    for name, content in configs.items():
        collect(root / name, [RESULT])
        (root / name / "experiment.yaml").write_text(content)
    collect(root / "blind", [RESULT])
    (root / "blind" / "queries.npz").write_bytes(b"no archive")
    code, printed, errors = run(root, "-o", tmp_path)
    assert code == 1
    assert "The page is at" in printed
    told = errors.splitlines()
    assert all(line.startswith("error: ") for line in told)
    for name in (
        "digits_toy/results.jsonl:1:",
        "digits_toy/results.jsonl:2:",
        "newer",
        "empty",
        "odd/ex",
        "odder/ex",
        "torn/ex",
        "blind",
    ):
        assert any(name in line for line in told), name
    assert {one["name"] for one in data_in(tmp_path / "index.html")["benchmarks"]} == {
        "digits_toy", f"omni {COMMENT}_toy", "blind"
    }  # fmt: skip


def test_a_figure_that_is_no_number_is_shown_as_none(run, tmp_path):
    collect(tmp_path / "toy", [curved(mean_ap=[0.2, float("nan"), 0.6]), labelled(method="fct")])
    code, _, _ = run(tmp_path, "-o", tmp_path)
    rows = {row["method"]: row for row in data_in(tmp_path / "index.html")["rows"]}
    assert code == 0
    assert rows["rqt"]["curves"]["mean_ap"] == [[2000, None, 6000]]
    assert rows["rqt"]["values"][0] is None
    assert rows["fct"]["values"][0] == pytest.approx(0.35)


def test_bad_input_is_one_line(run, tmp_path):
    refused(run(tmp_path / "none", "-o", tmp_path), "results: ", "none")
    refused(run(tmp_path, "-o", tmp_path / "site"), "results: no readable", "results.jsonl")
    refused(run(tmp_path), "-o")
    (tmp_path / "file").write_text("")
    root = folders(tmp_path / "results")
    refused(run(root, "-o", tmp_path / "file"), "output: ", "expected a writable folder")
    (tmp_path / "newer" / "toy").mkdir(parents=True)
    (tmp_path / "newer" / "toy" / "results.jsonl").write_text('{"layout": 9}\n')
    code, _, errors = run(tmp_path / "newer", "-o", tmp_path)
    assert code == 2
    assert all(line.startswith("error: ") for line in errors.splitlines())
    assert not (tmp_path / "index.html").exists()


def test_one_benchmark_alone_has_no_ranks(run, tmp_path):
    code, _, _ = run(folders(tmp_path / "results") / "digits_toy", "-o", tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert code == 0
    assert 'id="ranks"' not in text
    assert len(data_in(tmp_path / "index.html")["benchmarks"]) == 1


def test_a_package_that_is_missing_is_one_line(run, tmp_path, monkeypatch):
    root = folders(tmp_path / "results")
    for package in ("jinja2", "vl_convert", "altair"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            from benchmarks.html import runtime

            runtime.cache_clear()
            refused(run(root, "-o", tmp_path), "pip install", "not installed")


def test_measuring_nothing_or_without_a_browser_is_one_line(monkeypatch, capsys, tmp_path):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["measure", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            measure.main()
        return stop.value.code, *capsys.readouterr()

    refused(run(tmp_path / "none.html"), "page: ", "none.html")
    (tmp_path / "index.html").write_text("")
    refused(run(tmp_path / "index.html", "--times", "0"), "times: 0")
    monkeypatch.setattr(measure.shutil, "which", lambda name: None)
    refused(run(tmp_path / "index.html"), "chromium: not found", "apt-get install")


def test_the_script_stays_small():
    assert len((ROOT / "benchmarks" / "page" / "page.js").read_text().splitlines()) < 400
