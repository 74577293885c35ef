"""What people see of results: tables, comparisons, documents."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import plot, table
from benchmarks.tables import against, compare, document, harm, seen, terminal
from benchmarks.tables import table as wide
from compat.errors import InputError
from compat.plots.curves import plot_multiples
from compat.results import (
    Failure,
    collect,
    collect_failures,
    load_failures,
    load_query_auc,
    load_results,
    load_upgrades,
)
from tests import ROOT
from tests.helpers.toy import RESULT, curved, folder, labelled


def test_a_new_axis_is_a_label(tmp_path):
    collect(tmp_path / "toy", [labelled(distance="l2"), labelled(distance="cosine")])
    assert [r.name for r in load_results(tmp_path / "toy")] == ["rqt + cosine", "rqt + l2"]
    assert len(rows_of(wide.tables(tmp_path / "toy", ["distance=l2"]))) == 2


def test_unknown_columns_are_left_out_and_broken_lines_named(tmp_path, monkeypatch, capsys):
    file = folder(tmp_path) / "results.jsonl"
    best, one, two = file.read_text().splitlines()
    later = json.dumps({**json.loads(one), "field_of_the_future": 1})
    less = json.dumps({k: v for k, v in json.loads(two).items() if k != "mean_ap"})
    file.write_text("\n".join([best, later, less, two[:50]]))
    monkeypatch.setattr(sys, "argv", ["table", str(tmp_path / "toy")])
    with pytest.raises(SystemExit) as stop:
        table.main()
    printed = capsys.readouterr()
    assert stop.value.code == 1
    assert [line.split()[:2] for line in printed.out.splitlines()[4:6]] == [["rqt", "35.00"], ["best", "62.50"]]
    errors = printed.err.splitlines()
    assert errors[0] == f"error: {file}:3: no column 'mean_ap', expected a line of JSON with the columns of a result"
    assert errors[1].startswith(f"error: {file}:4: ")
    assert len(errors) == 2
    with pytest.raises(InputError, match=r"results.jsonl:3: no column 'mean_ap'"):
        load_results(tmp_path / "toy")
    with pytest.raises(InputError, match=r"nowhere: no results, expected a folder"):
        load_results(tmp_path / "nowhere")


def test_against_finds_what_differs(tmp_path):
    before, here = tmp_path / "before", tmp_path / "here"
    folder(before / "results")
    folder(here / "results")
    assert list(against.differing_figures(before, here)) == []
    collect(here / "results" / "toy", [curved(mean_ap=[0.5, *RESULT.mean_ap[1:]])])
    (line,) = against.differing_figures(before, here)
    assert line.startswith("toy  rqt seed 0: mean_ap was 20.00 ")
    marker = "<!-- table: toy -->\n{}<!-- end -->\n"
    found = against.cells(marker.format("mAP.\n\n| method | x |\n| --- | --: |\n| rqt | 1 |\n"))
    assert found["toy"] == {("", "systems"): "mAP.", ("rqt", "method"): "rqt", ("rqt", "x"): "1"}


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in [lines[0], *lines[2:]]]


def test_the_table_has_a_row_for_each_method_and_intervals_over_seeds(tmp_path):
    text = wide.table(load_results(folder(tmp_path)))
    assert text.startswith("mAP of the old system 20.00 %, of the new one 60.00 %; R@1 30.00 and 70.00 %.")
    names, *rows = rows_of(text)
    assert names[:4] == ["method", "seeds", "AUC mAP (%)", "relative gain (%)"]
    assert [row[:3] for row in rows] == [["rqt", "2 orders", "36.00 ± 12.71"], ["best", "1", "**62.50**"]]
    by_name = [dict(zip(names, row, strict=True)) for row in rows]
    assert [row["encoder passes per query"] for row in by_name] == ["1", "2"]
    assert [row["backward compatible"] for row in by_name] == ["for some seeds", "-"]
    assert by_name[1]["at 25 % (%)"] == "100.00"
    assert by_name[1]["gain on own end (%)"] == "106.25"
    assert [row["own end over new model (%)"] for row in by_name] == ["101.67 ± 21.18", "100.00"]
    assert [row["plain mean of curve (%)"] for row in by_name] == ["37.67 ± 12.71", "60.00"]
    assert by_name[1]["relative flips (%)"] == f"{100 * RESULT.relative_flips:.2f}"


def test_a_method_that_writes_the_gallery_anew_is_not_called_backward_compatible():
    def verdicts(anew, *starts, passes=1):
        group = [
            labelled(replace(curved(mean_ap=[start, 0.3, 0.6]), encoder_passes_per_query=passes), seed=seed)
            for seed, start in enumerate(starts)
        ]
        names, row = rows_of(wide.table([replace(r, transforms_gallery=anew) for r in group]))
        return dict(zip(names, row, strict=True))["backward compatible"]

    assert verdicts(True, 0.3, 0.25) == "forward"
    assert verdicts(True, 0.1) == "no"
    assert verdicts(True, 0.3, 0.1) == "for some seeds"
    assert verdicts(False, 0.3) == "yes"
    assert verdicts(False, 0.3, passes=2) == "-"


def test_rows_that_a_bootstrap_does_not_tell_from_the_best_are_marked(tmp_path):
    random = np.random.default_rng(0)
    areas = random.random(200)
    for name, loss in (("best", 0.0), ("close", 0.001), ("far", 0.2)):
        noisy = areas - loss + 0.05 * random.standard_normal(200)
        of_row = labelled(curved(mean_ap=[value - loss for value in RESULT.mean_ap]), method=name)
        collect(tmp_path / "toy", [of_row], [noisy.clip(0, 1)])
    _, *rows = rows_of(wide.tables(tmp_path / "toy"))
    assert [row[2] for row in rows] == ["15.00", "34.90 ≈", "**35.00**"]
    assert compare.compare(tmp_path / "toy", "best", "far").endswith("best beats far")
    assert compare.compare(tmp_path / "toy", "far", "best").endswith("best beats far")
    assert compare.compare(tmp_path / "toy", "close", "best").endswith("not separable")
    with pytest.raises(InputError, match="compare: 'none', expected some of best, close, far"):
        compare.compare(tmp_path / "toy", "none", "best")


def test_orders_and_merge_rules_have_rows_of_their_own(tmp_path):
    other = labelled(replace(RESULT, needs={"order": ["the old model's head"]}), order="entropy", merge="z_score")
    collect(tmp_path / "toy", [RESULT, other])
    names, *rows = rows_of(wide.tables(tmp_path / "toy"))
    assert names[1] == "needs"
    assert [row[:2] for row in rows] == [["rqt", "-"], ["rqt + entropy + z_score", "the old model's head"]]
    assert len(rows_of(wide.tables(tmp_path / "toy", ["order=entropy,random", "merge=raw"]))) == 2
    for wrong, message in (("order=none", "leaves nothing"), ("colour=red", "'colour', expected a field")):
        with pytest.raises(InputError, match=message):
            wide.tables(tmp_path / "toy", [wrong])
    figure = plot_multiples(load_results(tmp_path / "toy"), "order")
    assert [panel.get_title() for panel in figure.axes] == ["random", "entropy"]
    assert {"rqt", "rqt + z_score"} <= {line.get_label() for panel in figure.axes for line in panel.lines}


def test_what_failed_has_a_row_with_its_reason_until_it_succeeds(tmp_path):
    broken = labelled(method="broken")
    failure = Failure("toy", broken.labels, "ValueError: no | such")
    collect_failures(tmp_path / "toy", [failure])
    line = "broken (random, raw, seed 0) failed: ValueError: no \\| such"
    assert wide.tables(tmp_path / "toy") == line
    collect(tmp_path / "toy", [RESULT])
    assert f"| {line} |" in wide.tables(tmp_path / "toy")
    assert load_failures(tmp_path / "toy") == [failure]
    collect(tmp_path / "toy", [broken])
    assert load_failures(tmp_path / "toy") == []
    assert "failed" not in wide.tables(tmp_path / "toy")


def test_a_failure_stands_beside_the_result_that_was_there(tmp_path):
    collect(tmp_path / "toy", [RESULT], [np.full(3, 0.5)])
    collect_failures(tmp_path / "toy", [Failure("toy", RESULT.labels, "ValueError: no such")])
    _, row, failed = rows_of(wide.tables(tmp_path / "toy"))
    assert (row[0], failed[0]) == ("rqt", "rqt (random, raw, seed 0) failed: ValueError: no such")
    assert load_query_auc(tmp_path / "toy", RESULT) is not None


def test_a_short_table_has_the_columns_of_the_terminal(tmp_path):
    benchmark, text = folder(tmp_path), tmp_path / "README.md"
    text.write_text("<!-- short: toy -->\n<!-- end -->\n")
    document.write(text)
    names, *rows = rows_of(text.read_text())
    assert tuple(names) == terminal.NAMES
    assert [row[1] for row in rows] == ["36.00 ± 12.71", "**62.50**"]
    assert [row[3:] for row in rows] == [["21.0 -> 61.0", "-", "30.0 -> 70.0"], ["50.0 -> 60.0", "-", "30.0 -> 70.0"]]
    assert terminal.short(load_results(benchmark)) in text.read_text()


def test_tables_are_written_into_a_document(tmp_path):
    benchmark, text = folder(tmp_path), tmp_path / "README.md"
    text.write_text("Before.\n\n<!-- table: toy method=rqt -->\nold\n<!-- end -->\n\nAfter.\n")
    document.write(text)
    written = text.read_text()
    assert wide.tables(benchmark, ["method=rqt"]) in written
    assert written.startswith("Before.")
    assert written.endswith("After.\n")
    document.write(text)
    assert text.read_text() == written
    text.write_text("<!-- table: toy -->\n")
    with pytest.raises(InputError, match="without an end"):
        document.write(text)


def test_an_undefined_gain_is_called_so():
    with pytest.warns(UserWarning, match="undefined"):
        assert "| undefined |" in wide.table([replace(RESULT, new=RESULT.old)])


@pytest.mark.parametrize("runner", [plot, table])
def test_commands_print_one_line_for_a_wrong_folder(runner, tmp_path, monkeypatch, capsys):
    arguments = [str(tmp_path / "none"), *(["-o", str(tmp_path / "a.png")] if runner is plot else [])]
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as stop:
        runner.main()
    assert stop.value.code == 2
    expected = "no results, expected a folder with results.jsonl"
    assert capsys.readouterr().err == f"error: {tmp_path / 'none'}: {expected}\n"


DOCUMENTS = ("README.md", *(f"results/{path.name}" for path in sorted((ROOT / "results").glob("*.md"))))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_tables_in_documents_are_what_the_command_writes(name):
    assert document.write_tables(ROOT / name) == (ROOT / name).read_text()


def test_every_committed_benchmark_has_a_table():
    folders = {path.parent.name for path in (ROOT / "results").glob("*/results.jsonl*")}
    text = "".join((ROOT / name).read_text() for name in DOCUMENTS[1:])
    shown = {
        word for words in re.findall(r"<!-- (?:table|short|ranks|seen): (.*?) -->", text) for word in words.split()
    }
    assert folders - {"digits", "digits_methods"} <= shown


def test_the_upgrades_of_a_sequence_come_in_its_order(sequence, capsys, monkeypatch):
    for name, starts_at in (("third_from_1", 1.0), ("third_from_0.5", 0.5), ("4th_from_1", 1.0), ("10th_from_1", 1.0)):
        later = [labelled(replace(RESULT, starts_at=starts_at), upgrade=name, method=m) for m in ("rqt", "independent")]
        collect(sequence, later)
    names = ["first", "second_from_1", "second_from_0.5", "third_from_1", "third_from_0.5", "4th_from_1", "10th_from_1"]
    assert list(load_upgrades(sequence)) == names
    monkeypatch.setattr(sys, "argv", ["table", str(sequence)])
    table.main()
    printed = capsys.readouterr().out
    assert printed.count("\nrqt ") == 7
    assert printed.startswith("toy/first\n\nmAP of")


def test_the_terminal_gets_six_columns_of_100_characters(tmp_path):
    long = labelled(
        curved(ndcg_10=[0.3, 0.4, 0.7]),
        method="a_method_of_the_longest_name_that_anyone_has_ever_given_to_one_and_then_some_more",
    )
    collect(folder(tmp_path), [curved(long, mean_ap=[0.1, 0.2, 0.3])])
    lines = terminal.narrow(load_results(tmp_path / "toy")).splitlines()
    assert max(map(len, lines)) == 100
    assert len(lines[3].split()) == 6
    assert "62.50 *" in lines[-1]


def heads_of(result, starts_and_ends):
    """A row of rho(old) and rho(new) for each seed, beside the result with this seed."""
    rows = []
    for seed, (start, end) in enumerate(starts_and_ends):
        rows += [labelled(curved(result, mean_ap=[start, end, end]), method="independent_rho", seed=seed)]
        rows += [labelled(result, seed=seed)]
    return rows


def test_a_gain_between_heads_is_of_the_ends_of_the_row_of_both(tmp_path):
    flat = curved(mean_ap=[0.5, 0.5, 0.5])
    collect(tmp_path / "toy", [*heads_of(flat, [(0.4, 0.6), (0.3, 0.7)]), labelled(flat, seed=2)])
    names, *rows = rows_of(wide.table([r for r in load_results(tmp_path / "toy") if r.seed < 2]))
    by_name = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
    assert by_name["rqt"]["gain between heads (%)"] == "50.00"
    assert by_name["independent_rho"]["gain between heads (%)"].startswith("75.00")
    names, *rows = rows_of(wide.tables(tmp_path / "toy"))
    assert {row[0]: row[names.index("gain between heads (%)")] for row in rows}["rqt"] == "-"  # seed 2 has no heads
    assert "gain between heads" not in wide.table([flat])


def test_settings_of_one_data_set_stand_side_by_side(tmp_path):
    systems = {"old": {**RESULT.old, "ndcg_10": 0.4}, "new": {**RESULT.new, "ndcg_10": 0.8}}
    measured = replace(curved(mean_ap=[0.5, 0.5, 0.5], ndcg_10=[0.5, 0.5, 0.5]), **systems)
    collect(
        tmp_path / "toy",
        [
            *heads_of(measured, [(0.4, 0.6)]),
            labelled(method="alone"),
            labelled(curved(mean_ap=[0.6, 0.6, 0.6]), merge="query_z_score"),
            labelled(method="standardised", merge="query_z_score"),
        ],
    )
    less = [curved(mean_ap=[0.1, 0.4, 0.6], cmc_1=[0.28, 0.5, 0.7]), labelled(method="more")]
    collect(tmp_path / "toy_open_class", less)
    (tmp_path / "x.md").write_text("<!-- seen: toy toy_open_class -->\n<!-- end -->\n")
    text = document.write_tables(tmp_path / "x.md")
    upper, lower = (rows_of(part) for part in text.partition("| method | gain of nDCG@10")[::2])
    settings = ("seen", "open class")
    assert upper[0] == ["method", *(f"{figure}: {one}" for figure in ("gain of mAP", "by query z") for one in settings)]
    names = ["independent_rho", "rqt", "standardised + query_z_score", "alone", "more"]
    assert [row[0] for row in upper[1:]] == names
    rows = {row[0]: row[1:] for row in upper[1:]}
    assert rows["independent_rho"] == ["87.5 / 87.5 / 75.0", "-", "-", "-"]
    assert rows["rqt"] == ["75.0 / 100.0 / 50.0", "43.8 / 43.8 / -", "100.0", "-"]
    assert rows["alone"] == ["37.5 / 37.5 / -25.0", "-", "-", "-"]
    assert rows["more"] == ["-", "37.5 / 37.5 / -", "-", "-"]
    top = {row[0]: row[1:] for row in lower}
    assert top["rqt"] == ["25.0", "-", "37.5", "48.8", "0 / 0 / 0", "10.00 / - / 2.00"]
    assert top["alone"] == ["-", "-", "37.5", "-", "0 / - / 0", "-"]
    with pytest.raises(InputError, match="seen: 1 folder, expected two or more"):
        seen.seen_table([tmp_path / "toy"])


def test_harm_counts_the_runs_of_a_method_below_the_old_system_over_folders_and_orders(tmp_path, monkeypatch, capsys):
    better = replace(curved(ndcg_10=[0.4, 0.5, 0.6]), old={**RESULT.old, "ndcg_10": 0.4})
    fallen = labelled(curved(better, mean_ap=[0.15, 0.1, 0.6], cmc_1=[0.29, 0.4, 0.7]), seed=1, order="entropy")
    merged = labelled(curved(mean_ap=[0.0, 0.0, 0.0]), merge="z_score")
    collect(tmp_path / "a", [better, fallen, merged])
    collect(tmp_path / "b", [curved(mean_ap=[0.2, 0.16, 0.6]), labelled(method="fct")])
    rows = [["fct", "0 of 1", "-", "0 of 1"], ["rqt", "2 of 3 (7.00, 10.00)", "0 of 2", "1 of 3 (1.00, 1.00)"]]
    text = harm.harm_table([tmp_path / "a", tmp_path / "b"])
    assert text.startswith("Runs below the old system in a (2), b (2). ")
    assert rows_of(text) == [["method", "mAP", "nDCG@10", "R@1"], *rows]
    (tmp_path / "x.md").write_text("<!-- harm: a b -->\n<!-- end -->\n\n<!-- harm: a merge=z_score -->\n<!-- end -->\n")
    written = document.write_tables(tmp_path / "x.md")
    assert text in written
    assert "| rqt + z_score | 1 of 1 (20.00, 20.00) | - | 0 of 1 |" in written
    monkeypatch.setattr(sys, "argv", ["table", str(tmp_path / "a"), str(tmp_path / "b"), "--harm"])
    table.main()
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[4:]] == ["fct", "rqt"]


@pytest.mark.parametrize(
    "mark",
    ["live: nothing.json", "faults: other.json", "live: other.json", "searching: other.json", "indexed: other.json"],
)
def test_tables_of_live_migrations_need_their_reports(tmp_path, mark):
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "document.md").write_text(f"<!-- {mark} -->\n<!-- end -->\n")
    with pytest.raises(InputError, match=r"(nothing|other).json: .*, expected a report of benchmarks.perf"):
        document.write_tables(tmp_path / "document.md")
