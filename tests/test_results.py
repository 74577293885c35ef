"""Results on disk, what is derived from them, and how they are shown; none of it needs torch."""

import json
import math
import multiprocessing
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Annotation

from benchmarks import convert, plot, table
from benchmarks.report import against, compare, document, terminal
from benchmarks.report import table as wide
from compat.curve import area, relative_gain, sum_of_drops
from compat.errors import InputError
from compat.names import check_name
from compat.plot import plot_cost, plot_curves, plot_multiples, plot_sequence
from compat.results import (
    METRICS,
    Failure,
    Result,
    collect,
    collect_failures,
    failures_of,
    forget,
    layout_1,
    load_experiment,
    load_failures,
    load_keys,
    load_query_auc,
    load_results,
    load_upgrades,
    queries,
)
from compat.statistics import over_seeds, paired_bootstrap

ROOT = Path(__file__).parents[1]
RESULT = Result(
    benchmark="toy",
    labels={"upgrade": "", "method": "rqt", "seed": 0, "order": "random", "merge": "raw"},
    key="0123",
    progress=[0.0, 0.5, 1.0],
    mean_ap=[0.2, 0.3, 0.6],
    cmc_1=[0.3, 0.4, 0.7],
    cmc_5=[0.5, 0.6, 0.9],
    negative_flip_rate=[0.0, 0.1, 0.05],
    mean_ap_orders=[[0.2, 0.2, 0.6], [0.2, 0.4, 0.6]],
    old={"mean_ap": 0.2, "cmc_1": 0.3, "cmc_5": 0.5},
    new={"mean_ap": 0.6, "cmc_1": 0.7, "cmc_5": 0.9},
    queries=10,
    queries_without_positive=0,
    gallery_items=20,
    encoder_passes_per_query=1,
    spec={"class_path": "compat.methods.ReverseQuery"},
    seconds={"head": 1.0},
    training_seconds=1.0,
)


def labelled(result=RESULT, **labels):
    return replace(result, labels={**result.labels, **labels})


def folder(tmp_path):
    moved = [
        labelled(replace(RESULT, mean_ap=[v + s for v in RESULT.mean_ap]), seed=n) for n, s in enumerate((0, 0.02))
    ]
    better = labelled(replace(RESULT, mean_ap=[0.5, 0.7, 0.6], encoder_passes_per_query=2), method="best")
    collect(tmp_path / "toy", [*moved, better])
    (tmp_path / "toy" / "tuning.json").write_text("{}")  # another file of a benchmark
    return tmp_path / "toy"


def test_derived_figures_by_hand():
    assert RESULT.auc == pytest.approx(0.35)
    assert RESULT.relative_gain == pytest.approx(0.15 / 0.4)
    assert RESULT.flips == pytest.approx(0.0625)
    assert replace(RESULT, mean_ap=[0.5, 0.3, 0.4, 0.2]).drops == pytest.approx(0.4)


def test_uneven_progress_and_single_points():
    assert area([0.0, 0.1, 1.0], [1.0, 0.0, 0.0]) == pytest.approx(0.05)
    assert area([0.2, 0.6], [1.0, 0.0]) == pytest.approx(0.5)
    assert area([0.3], [0.7]) == 0.7
    assert sum_of_drops([0.3]) == 0


def test_the_relative_gain_of_a_worse_new_system_is_undefined():
    with pytest.warns(UserWarning, match="undefined"):
        assert math.isnan(relative_gain(0.3, old=0.5, new=0.5))


def test_results_come_back_as_they_were_saved(tmp_path):
    result = replace(RESULT, needs={"order": ["labels"]}, images_skipped=["a.png"], mean_ap=[1 / 3, 0.5, 0.6])
    collect(tmp_path / "toy", [result])
    (found,) = load_results(tmp_path / "toy")
    assert found == replace(result, mean_ap=[0.333333333, 0.5, 0.6])
    assert {path.name for path in (tmp_path / "toy").iterdir()} == {".lock", "results.jsonl", "experiment.yaml"}


def test_pandas_users_get_plain_columns(tmp_path):
    lines = [json.loads(line) for line in (folder(tmp_path) / "results.jsonl").read_text().splitlines()]
    assert [(line["method"], line["seed"]) for line in lines] == [("best", 0), ("rqt", 0), ("rqt", 1)]
    assert lines[1]["old_mean_ap"] == 0.2
    assert not {"labels", "old", "new"} & set(lines[0])


def test_a_new_axis_is_a_label(tmp_path):
    collect(tmp_path / "toy", [labelled(distance="l2"), labelled(distance="cosine")])
    assert [r.name for r in load_results(tmp_path / "toy")] == ["rqt + cosine", "rqt + l2"]
    assert len(rows_of(wide.tables(tmp_path / "toy", ["distance=l2"]))) == 2


def test_a_result_takes_the_place_of_the_one_with_its_labels(tmp_path):
    collect(folder(tmp_path), [replace(labelled(seed=1), key="other")])
    keys = load_keys(tmp_path / "toy")
    assert sorted(keys.values()) == ["0123", "0123", "other"]
    assert len(load_results(tmp_path / "toy")) == 3


def test_the_experiment_is_joined_and_records_are_kept_once(tmp_path):
    made = [{"commit": "a"}, {"commit": "b"}, {"commit": "a"}]
    config = {"name": "toy", "seed": 3, "runs": "x", "methods": {"rqt": {"class_path": "A", "init_args": {"a": 1}}}}
    collect(tmp_path, [replace(RESULT, provenance=[0, 2])], experiment={"config": config, "provenance": made})
    more = {"name": "toy", "methods": {"rqt": {"class_path": "A", "init_args": {"b": 2}}, "fct": {"class_path": "B"}}}
    one = replace(labelled(method="fct"), provenance=[0])
    collect(tmp_path, [one], experiment={"config": more, "provenance": [{"commit": "c"}]})
    found = load_experiment(tmp_path)
    assert found["config"] == more
    assert [[found["provenance"][n]["commit"] for n in r.provenance] for r in load_results(tmp_path)] == [
        ["c"],
        ["a", "a"],
    ]
    assert len(found["provenance"]) == 2


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
    assert [line.split()[:2] for line in printed.out.splitlines()[4:6]] == [["rqt", "1"], ["best", "1"]]
    errors = printed.err.splitlines()
    assert errors[0] == f"error: {file}:3: no column 'mean_ap', expected a result of benchmarks.run"
    assert errors[1].startswith(f"error: {file}:4: ")
    assert len(errors) == 2
    with pytest.raises(InputError, match=r"results.jsonl:3: no column 'mean_ap'"):
        load_results(tmp_path / "toy")
    with pytest.raises(InputError, match=r"nowhere: no results, expected a folder"):
        load_results(tmp_path / "nowhere")


def test_results_of_different_systems_are_not_mixed(tmp_path):
    collect(folder(tmp_path), [labelled(replace(RESULT, new={**RESULT.new, "mean_ap": 0.9}), seed=3)])
    with pytest.raises(InputError, match=r"new differs between best \(seed 0\) and rqt \(seed 3\), expected one"):
        load_results(tmp_path / "toy")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", ".hidden", "a\\b", "a=b", "a,b", "a\n"])
def test_names_that_are_no_part_of_a_path_are_refused(name):
    with pytest.raises(InputError, match=r"name: .*, expected letters"):
        check_name("name", name)
    assert check_name("name", "rqt_mcl-0.5+x") == "rqt_mcl-0.5+x"


def _collect_some(folder, method):
    for seed in range(8):
        collect(folder, [labelled(method=method, seed=seed)], [np.full(5, 0.5)])


def test_two_processes_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_collect_some, args=(tmp_path / "toy", name)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    results = load_results(tmp_path / "toy")
    assert len(results) == 16
    assert all(load_query_auc(tmp_path / "toy", result) is not None for result in results)


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in [lines[0], *lines[2:]]]


def test_the_table_has_a_row_for_each_method_and_intervals_over_seeds(tmp_path):
    text = wide.table(load_results(folder(tmp_path)))
    assert text.startswith("mAP of the old system 20.00 %, of the new one 60.00 %.")
    names, *rows = rows_of(text)
    assert names[:4] == ["method", "seeds", "AUC mAP (%)", "relative gain (%)"]
    assert [row[:3] for row in rows] == [["rqt", "2", "36.00 ± 12.71"], ["best", "1", "**62.50**"]]
    by_name = [dict(zip(names, row, strict=True)) for row in rows]
    assert [row["encoder passes per query"] for row in by_name] == ["1", "2"]
    assert [row["backward compatible"] for row in by_name] == ["for some seeds", "-"]
    assert by_name[1]["at 25 % (%)"] == "100.00"
    assert by_name[1]["gain on own end (%)"] == "106.25"


def test_rows_that_a_bootstrap_does_not_tell_from_the_best_are_marked(tmp_path):
    random = np.random.default_rng(0)
    areas = random.random(200)
    for name, loss in (("best", 0.0), ("close", 0.001), ("far", 0.2)):
        noisy = areas - loss + 0.05 * random.standard_normal(200)
        of_row = labelled(replace(RESULT, mean_ap=[value - loss for value in RESULT.mean_ap]), method=name)
        collect(tmp_path / "toy", [of_row], [noisy.clip(0, 1)])
    _, *rows = rows_of(wide.tables(tmp_path / "toy"))
    assert [row[2] for row in rows] == ["15.00", "34.90 ≈", "**35.00**"]
    assert compare.compare(tmp_path / "toy", "best", "far").endswith("best beats far")
    assert compare.compare(tmp_path / "toy", "far", "best").endswith("best beats far")
    assert compare.compare(tmp_path / "toy", "close", "best").endswith("not separable")
    with pytest.raises(InputError, match="compare: 'none', expected some of best, close, far"):
        compare.compare(tmp_path / "toy", "none", "best")


def test_the_bootstrap_is_that_of_numpy_by_hand():
    random = np.random.default_rng(1)
    a, b = random.random(80), random.random(80)
    a[3] = np.nan
    difference = np.delete(a - b, 3)
    means = difference[random.integers(0, 79, (20_000, 79))].mean(1)
    found = paired_bootstrap(a, b)
    assert found.mean == pytest.approx(difference.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.004)
    assert paired_bootstrap(a, a) == (0.0, 0.0, 0.0)


def test_the_interval_over_seeds_is_student_s():
    mean, low, high = over_seeds([1.0, 2.0, 3.0])
    assert mean == 2
    assert (high - mean, mean - low) == pytest.approx((4.302653 / 3**0.5,) * 2, abs=1e-6)


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
    collect(tmp_path / "toy", [broken], [np.full(3, 0.5)])
    collect_failures(tmp_path / "toy", [failure])
    line = "broken (random, raw, seed 0) failed: ValueError: no \\| such"
    assert wide.tables(tmp_path / "toy") == line
    assert load_query_auc(tmp_path / "toy", broken) is None
    collect(tmp_path / "toy", [RESULT])
    assert f"| {line} |" in wide.tables(tmp_path / "toy")
    assert load_failures(tmp_path / "toy") == [failure]
    collect(tmp_path / "toy", [broken])
    assert load_failures(tmp_path / "toy") == []
    assert "failed" not in wide.tables(tmp_path / "toy")


def test_failures_of_other_results_than_those_asked_for_do_not_count(tmp_path):
    failures = [Failure("toy", labelled(seed=seed).labels, "x") for seed in (0, 1)]
    collect_failures(tmp_path, failures)
    assert failures_of(tmp_path, [labelled(seed=1).labels, labelled(seed=2).labels]) == failures[1:]


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


def test_the_cost_plot_has_a_point_for_each_row(tmp_path):
    (panel,) = plot_cost(load_results(folder(tmp_path))).axes
    assert {text.get_text() for text in panel.texts} == {"rqt", "best"}


def test_an_undefined_gain_is_called_so():
    with pytest.warns(UserWarning, match="undefined"):
        assert "| undefined |" in wide.table([replace(RESULT, new=RESULT.old)])


def test_the_plot_has_a_line_and_a_band_for_each_method_and_dashes_for_the_systems(tmp_path):
    figure = plot_curves(load_results(folder(tmp_path)))
    for panel, new in zip(figure.axes, (60, 70), strict=True):
        lines = {line.get_label(): line for line in panel.lines}
        assert set(lines) == {"rqt", "best", "old system", "new system"}
        assert lines["new system"].get_linestyle() == "--"
        assert np.asarray(lines["new system"].get_ydata())[0] == pytest.approx(new)
        assert len(panel.collections) == 2
        assert {text.get_text() for text in panel.texts} == set(lines)
    assert np.asarray(figure.axes[0].lines[0].get_ydata()) == pytest.approx([21, 31, 61])


def test_of_many_methods_the_best_and_the_named_are_in_colour(tmp_path):
    many = [labelled(replace(RESULT, mean_ap=[0.2, 0.3, 0.5 + n / 100]), method=f"m{n:02}") for n in range(27)]
    collect(tmp_path / "toy", many)
    results = load_results(tmp_path / "toy")
    for highlight, expected in ((), {f"m{n}" for n in range(21, 27)}), (["m03", "m07"], {"m03", "m07"}):
        panel, _ = plot_curves(results, highlight=highlight).axes
        looks = {str(line.get_label()): (line.get_color(), str(line.get_linestyle())) for line in panel.lines}
        coloured = {name for name, (color, _) in looks.items() if color != "0.8"} - {"old system", "new system"}
        assert coloured == expected
        assert len({looks[name] for name in coloured}) == len(coloured)
        places = sorted(text.xyann[1] for text in panel.texts if isinstance(text, Annotation))
        low, high = panel.get_ylim()
        assert min(np.diff(places)) > (high - low) / 27


@pytest.mark.parametrize("runner", [plot, table])
def test_commands_print_one_line_for_a_wrong_folder(runner, tmp_path, monkeypatch, capsys):
    arguments = [str(tmp_path / "none"), *(["-o", str(tmp_path / "a.png")] if runner is plot else [])]
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as stop:
        runner.main()
    assert stop.value.code == 2
    expected = "no results, expected a folder with results.jsonl"
    assert capsys.readouterr().err == f"error: {tmp_path / 'none'}: {expected}\n"


def test_plotting_needs_no_torch(tmp_path):
    code = (
        "import sys\nfrom benchmarks import plot, table\n"
        "assert not {'torch', 'pytorch_lightning'} & set(sys.modules)\n"
        f"sys.argv = ['plot', {str(folder(tmp_path))!r}, '-o', {str(tmp_path / 'curve.png')!r}]; "
        "plot.main(); sys.argv = sys.argv[:2]; table.main()\n"
        "assert not {'torch', 'pytorch_lightning'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "\nbest " in done.stdout
    assert (tmp_path / "curve.png").stat().st_size > 1000


@pytest.mark.parametrize("name", ["README.md", "results/README.md"])
def test_tables_in_documents_are_what_the_command_writes(name):
    assert document.written(ROOT / name) == (ROOT / name).read_text()


def test_every_committed_benchmark_has_a_table():
    folders = {path.parent.name for path in (ROOT / "results").glob("*/results.jsonl")}
    shown = set(re.findall(r"<!-- table: (\S+)", (ROOT / "results/README.md").read_text()))
    assert folders - {"digits", "digits_methods"} <= shown


@pytest.fixture
def sequence(tmp_path):
    """Two methods in a sequence: the first upgrade, the second after it and the second from its half on."""
    old, middle, newest = RESULT.old, RESULT.new, {"mean_ap": 0.8, "cmc_1": 0.9, "cmc_5": 1.0}
    for name, starts_at, systems in (
        ("first", 0.0, (old, middle)),
        ("second_from_0.5", 0.5, (old, newest)),
        ("second_from_1", 1.0, (middle, newest)),
    ):
        result = replace(RESULT, starts_at=starts_at, old=systems[0], new=systems[1])
        collect(tmp_path / "toy", [labelled(result, upgrade=name, method=method) for method in ("rqt", "independent")])
    return tmp_path / "toy"


def test_the_upgrades_of_a_sequence_come_in_its_order(sequence, capsys, monkeypatch):
    assert list(load_upgrades(sequence)) == ["first", "second_from_1", "second_from_0.5"]
    monkeypatch.setattr(sys, "argv", ["table", str(sequence)])
    table.main()
    printed = capsys.readouterr().out
    assert printed.count("\nrqt ") == 3
    assert printed.startswith("toy/first\n\nmAP of")


def test_a_sequence_is_drawn_over_what_is_re_extracted(sequence, tmp_path, capsys, monkeypatch):
    first, *seconds = load_upgrades(sequence).values()
    after, overlapping = plot_sequence(first, seconds).axes
    drawn = {tuple(np.asarray(line.get_xdata()).tolist()) for line in after.lines if line.get_marker() == "o"}
    assert drawn == {(0.0, 0.5, 1.0), (1.0, 1.5, 2.0)}
    drawn = {tuple(np.asarray(line.get_xdata()).tolist()) for line in overlapping.lines if line.get_marker() == "o"}
    assert drawn == {(0.0, 0.5), (0.5, 1.0, 1.5)}
    monkeypatch.setattr(sys, "argv", ["plot", str(sequence), "-o", str(tmp_path / "sequence.png")])
    plot.main()
    assert (tmp_path / "sequence.png").stat().st_size > 1000


OLD = ROOT / "tests/fixtures/old_results"


def old_file(tmp_path, **changes):
    content = {**json.loads((OLD / "independent-s0.json").read_text()), **changes}
    path = tmp_path / "old-s0.json"
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return path


def test_the_layout_of_earlier_versions_is_read_and_converted(tmp_path, capsys, monkeypatch):
    names = ["independent", "independent + z_score", "rqt_mcl_rho + z_score", "rqt_mcl_rho"]
    before = load_results(OLD)
    assert [r.name for r in before] == names
    assert before[1].needs == {"merge": ["training images"]}
    monkeypatch.setattr(sys, "argv", ["convert", str(OLD), str(tmp_path / "new")])
    convert.main()
    after = load_results(tmp_path / "new")
    assert wide.table(after) == wide.table(before)
    for result, values in zip(layout_1.load_results(OLD), layout_1.load_query_areas(OLD), strict=True):
        found = load_query_auc(tmp_path / "new", result)
        assert (found is None) == (values is None) == (result.merge == "z_score")
        if found is None or values is None:
            continue
        assert found == pytest.approx(values, abs=1 / 250)
        assert np.mean(found) == pytest.approx(np.mean(values), abs=0.5 / 250 / 5000 + 1e-9)
    assert load_experiment(tmp_path / "new")["trained_on"]["old"]["images"] == 25000
    missing = dict.fromkeys(("trained_on", "images_skipped", "starts_at", "order", "merge", "merge_needs"))
    assert layout_1.load_result(old_file(tmp_path, **missing)).labels == before[0].labels
    with pytest.raises(InputError, match=r"old-s0.json: no field 'mean_ap', expected a result of"):
        layout_1.load_result(old_file(tmp_path, mean_ap=None))


def test_areas_of_a_row_are_the_mean_over_its_seeds_until_one_is_made_again(tmp_path):
    random = np.random.default_rng(0)
    areas = random.random((3, 400))
    areas[:, 7] = np.nan
    seeds = [labelled(seed=seed) for seed in range(3)]
    collect(tmp_path, seeds, list(areas))
    queries.condense(tmp_path)
    for result in seeds:
        found = load_query_auc(tmp_path, result)
        assert found is not None
        assert np.isnan(found).nonzero()[0].tolist() == [7]
        assert np.nanmean(found) == pytest.approx(np.nanmean(areas), abs=2 * 0.5 / 250 / 399)
    collect(tmp_path, [seeds[1]], [areas[1]])
    assert load_query_auc(tmp_path, seeds[0]) is None
    assert load_query_auc(tmp_path, seeds[1]) is not None


def test_the_terminal_gets_six_columns_of_100_characters(tmp_path):
    long = labelled(method="a_method_of_the_longest_name_that_anyone_has_ever_given_to_one_and_then_some_more")
    collect(folder(tmp_path), [replace(long, mean_ap=[0.1, 0.2, 0.3])])
    lines = terminal.narrow(load_results(tmp_path / "toy")).splitlines()
    assert max(map(len, lines)) == 100
    assert len(lines[3].split()) == 6
    assert "62.50 *" in lines[-1]


def test_against_finds_what_differs(tmp_path):
    before, here = tmp_path / "before", tmp_path / "here"
    shutil.copytree(OLD, before / "results" / "toy")
    convert.convert(before / "results", here / "results")
    assert list(against.differing_figures(before, here)) == []
    (result, *_) = load_results(here / "results" / "toy")
    collect(here / "results" / "toy", [replace(result, mean_ap=[0.5, *result.mean_ap[1:]])])
    (line,) = against.differing_figures(before, here)
    assert line.startswith("toy  independent seed 0: mean_ap was 6.53 ")
    marker = "<!-- table: toy -->\n{}<!-- end -->\n"
    (one,) = against.cells(marker.format("mAP.\n\n| method | x |\n| --- | --: |\n| rqt | 1 |\n"))
    assert one == {("", "systems"): "mAP.", ("rqt", "method"): "rqt", ("rqt", "x"): "1"}


@pytest.mark.parametrize(
    ("seconds", "starts_at", "expected"),
    [
        ({"train_old": 1, "train_new": 2, "head": 8, "extract_new": 16, "replay": 32}, 0.0, 10),
        ({"train_old": 1, "train_new": 2, "train_newest": 4, "head": 8}, 0.0, 10),
        ({"train_old": 1, "train_new": 2, "train_newest": 4, "head": 8}, 0.5, 12),
        ({"train_old": 1, "joint": 64, "head": 8}, 0.0, 72),  # a model of its own in place of the plain one
        ({"train_old": 1, "train_new": 2, "joint": 64}, 0.0, 66),  # beside the plain one, which it needs
        ({"train_old": 1, "train_newest": 4, "joint": 64}, 0.0, 64),
        ({"train_old": 1, "train_new": 2, "joint": 64}, 1.0, 64),
    ],
)
def test_the_training_of_an_upgrade_is_not_that_of_another(tmp_path, seconds, starts_at, expected):
    path = old_file(tmp_path, seconds=seconds, starts_at=starts_at)
    assert layout_1.load_result(path).training_seconds == expected


@pytest.mark.parametrize("metric", list(METRICS))
def test_a_sequence_is_drawn_in_every_metric(sequence, metric):
    first, *seconds = load_upgrades(sequence).values()
    assert len(plot_sequence(first, seconds, metric).axes) == 2


def test_upgrades_that_do_not_belong_together_are_refused(sequence):
    forget(sequence, [{**RESULT.labels, "upgrade": "second_from_1"}])
    with pytest.raises(InputError, match=r"no result of rqt in second_from_1"):
        load_upgrades(sequence)
    collect(sequence, [RESULT])
    with pytest.raises(InputError, match="results beside those of a sequence"):
        load_upgrades(sequence)


def test_a_folder_of_benchmarks_is_not_one(tmp_path):
    collect(tmp_path / "toy", [RESULT])
    with pytest.raises(InputError, match="no results"):
        load_upgrades(tmp_path)
