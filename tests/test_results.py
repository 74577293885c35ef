"""Results on disk, what is derived from them, and how they are shown; none of it needs torch."""

import json
import math
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import plot, table
from compat.curve import area, relative_gain, sum_of_drops
from compat.errors import InputError
from compat.plot import plot_cost, plot_curves, plot_multiples, plot_sequence
from compat.results import (
    METRICS,
    Failure,
    Result,
    load_failures,
    load_result,
    load_results,
    load_upgrades,
    result_path,
    save_failure,
    save_result,
)
from compat.statistics import over_seeds, paired_bootstrap

ROOT = Path(__file__).parents[1]
RESULT = Result(
    benchmark="toy",
    method="rqt",
    seed=0,
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
    config={"name": "toy"},
    fingerprint="0123",
    versions={"python": "3.11"},
    git_commit=None,
    hardware={"cores": 2},
    seconds={"head": 1.0},
    training_seconds=1.0,
)


def folder(tmp_path):
    for seed, shift in enumerate((0.0, 0.02)):
        moved = [value + shift for value in RESULT.mean_ap]
        save_result(replace(RESULT, seed=seed, mean_ap=moved), result_path(tmp_path, "toy", "rqt", seed))
    better = replace(RESULT, method="best", mean_ap=[0.5, 0.7, 0.6], encoder_passes_per_query=2)
    save_result(better, result_path(tmp_path, "toy", "best", 0))
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
    path = result_path(tmp_path, "toy", "rqt", 0)
    save_result(RESULT, path)
    assert load_result(path) == RESULT
    assert [p.name for p in path.parent.iterdir()] == ["rqt-s0.json"]


def test_unknown_fields_are_left_out_and_missing_ones_named(tmp_path):
    content = asdict(RESULT)
    (tmp_path / "later.json").write_text(json.dumps({**content, "field_of_the_future": 1}))
    assert load_result(tmp_path / "later.json") == RESULT
    del content["mean_ap"]
    (tmp_path / "less.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"less.json: no field 'mean_ap', expected a result"):
        load_result(tmp_path / "less.json")
    (tmp_path / "half.json").write_text(json.dumps(content)[:50])
    with pytest.raises(InputError, match=r"half.json: .*expected a result of benchmarks.run"):
        load_result(tmp_path / "half.json")
    with pytest.raises(InputError, match=r"nowhere: no results, expected a folder"):
        load_results(tmp_path / "nowhere")


def test_results_of_different_systems_are_not_mixed(tmp_path):
    save_result(replace(RESULT, seed=3, new={**RESULT.new, "mean_ap": 0.9}), folder(tmp_path) / "rqt-s3.json")
    with pytest.raises(InputError, match=r"new differs between best-s0.json and rqt-s3.json, expected one benchmark"):
        load_results(tmp_path / "toy")


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in [lines[0], *lines[2:]]]


def test_the_table_has_a_row_for_each_method_and_intervals_over_seeds(tmp_path):
    text = table.table(load_results(folder(tmp_path)))
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
        of_row = replace(RESULT, method=name, mean_ap=[value - loss for value in RESULT.mean_ap])
        save_result(of_row, result_path(tmp_path, "toy", name, 0), noisy)
    _, *rows = rows_of(table.tables(tmp_path / "toy"))
    assert [row[2] for row in rows] == ["15.00", "34.90 ≈", "**35.00**"]
    assert table.compare(tmp_path / "toy", "best", "far").endswith("best beats far")
    assert table.compare(tmp_path / "toy", "far", "best").endswith("best beats far")
    assert table.compare(tmp_path / "toy", "close", "best").endswith("not separable")
    with pytest.raises(InputError, match="compare: 'none', expected some of best, close, far"):
        table.compare(tmp_path / "toy", "none", "best")


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


def test_orders_and_merge_rules_have_rows_and_files_of_their_own(tmp_path):
    plain = result_path(tmp_path, "toy", "rqt", 0)
    other = result_path(tmp_path, "toy", "rqt", 0, "entropy", "z_score")
    assert other.name == "rqt-entropy-z_score-s0.json"
    save_result(RESULT, plain)
    save_result(replace(RESULT, order="entropy", order_needs="the old model's head", merge="z_score"), other)
    names, *rows = rows_of(table.tables(tmp_path / "toy"))
    assert names[1] == "needs"
    assert [row[:2] for row in rows] == [["rqt", "-"], ["rqt + entropy + z_score", "the old model's head"]]
    assert len(rows_of(table.tables(tmp_path / "toy", ["order=entropy,random", "merge=raw"]))) == 2
    for wrong, message in (("order=none", "leaves nothing"), ("colour=red", "'colour', expected a field")):
        with pytest.raises(InputError, match=message):
            table.tables(tmp_path / "toy", [wrong])
    figure = plot_multiples(load_results(tmp_path / "toy"), "order")
    assert [panel.get_title() for panel in figure.axes] == ["random", "entropy"]
    assert {"rqt", "rqt + z_score"} <= {line.get_label() for panel in figure.axes for line in panel.lines}


def test_what_failed_has_a_row_with_its_reason_until_it_succeeds(tmp_path):
    path = result_path(tmp_path, "toy", "broken", 0)
    failure = Failure("toy", "broken", 0, "random", "raw", "ValueError: no | such")
    save_failure(failure, path)
    assert table.tables(tmp_path / "toy") == "broken (random, raw, seed 0) failed: ValueError: no \\| such"
    save_result(RESULT, result_path(tmp_path, "toy", "rqt", 0))
    assert "| broken (random, raw, seed 0) failed: ValueError: no \\| such |" in table.tables(tmp_path / "toy")
    assert load_failures(tmp_path / "toy") == [failure]
    save_result(replace(RESULT, method="broken"), path)
    assert load_failures(tmp_path / "toy") == []
    assert "failed" not in table.tables(tmp_path / "toy")


def test_tables_are_written_into_a_document(tmp_path):
    benchmark, document = folder(tmp_path), tmp_path / "README.md"
    document.write_text("Before.\n\n<!-- table: toy method=rqt -->\nold\n<!-- end -->\n\nAfter.\n")
    table.write(document)
    written = document.read_text()
    assert table.tables(benchmark, ["method=rqt"]) in written
    assert written.startswith("Before.")
    assert written.endswith("After.\n")
    table.write(document)
    assert document.read_text() == written
    document.write_text("<!-- table: toy -->\n")
    with pytest.raises(InputError, match="without an end"):
        table.write(document)


def test_the_cost_plot_has_a_point_for_each_row(tmp_path):
    (panel,) = plot_cost(load_results(folder(tmp_path))).axes
    assert {text.get_text() for text in panel.texts} == {"rqt", "best"}


def test_an_undefined_gain_is_called_so():
    with pytest.warns(UserWarning, match="undefined"):
        assert "| undefined |" in table.table([replace(RESULT, new=RESULT.old)])


def test_the_plot_has_a_line_and_a_band_for_each_method_and_dashes_for_the_systems(tmp_path):
    figure = plot_curves(load_results(folder(tmp_path)))
    for panel, new in zip(figure.axes, (0.6, 0.7), strict=True):
        lines = {line.get_label(): line for line in panel.lines}
        assert set(lines) == {"rqt", "best", "old system", "new system"}
        assert lines["new system"].get_linestyle() == "--"
        assert np.asarray(lines["new system"].get_ydata())[0] == new
        assert len(panel.collections) == 2
    assert np.asarray(figure.axes[0].lines[0].get_ydata()) == pytest.approx([0.21, 0.31, 0.61])


@pytest.mark.parametrize("runner", [plot, table])
def test_commands_print_one_line_for_a_wrong_folder(runner, tmp_path, monkeypatch, capsys):
    arguments = [str(tmp_path / "none"), *(["-o", str(tmp_path / "a.png")] if runner is plot else [])]
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as stop:
        runner.main()
    assert stop.value.code == 2
    expected = "no results, expected a folder of <method>-s<seed>.json files"
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
    assert "| best |" in done.stdout
    assert (tmp_path / "curve.png").stat().st_size > 1000


@pytest.mark.parametrize("document", ["README.md", "results/README.md"])
def test_tables_in_documents_are_what_the_command_writes(document):
    assert table.written(ROOT / document) == (ROOT / document).read_text()


def test_every_committed_benchmark_has_a_table():
    folders = {path.parent.relative_to(ROOT / "results") for path in (ROOT / "results").rglob("*-s*.json")}
    shown = set(re.findall(r"<!-- table: (\S+)", (ROOT / "results/README.md").read_text()))
    assert {str(path) for path in folders if path.parts[0] not in ("digits", "digits_methods")} <= shown


@pytest.fixture
def sequence(tmp_path):
    """Two methods in a sequence: the first upgrade, the second after it and the second from its half on."""
    old, middle, newest = RESULT.old, RESULT.new, {"mean_ap": 0.8, "cmc_1": 0.9, "cmc_5": 1.0}
    for name, starts_at, systems in (
        ("first", 0.0, (old, middle)),
        ("second_from_0.5", 0.5, (old, newest)),
        ("second_from_1", 1.0, (middle, newest)),
    ):
        for method in ("rqt", "independent"):
            result = replace(
                RESULT, benchmark=f"toy/{name}", method=method, starts_at=starts_at, old=systems[0], new=systems[1]
            )
            save_result(result, result_path(tmp_path, f"toy/{name}", method, 0))
    return tmp_path / "toy"


def test_the_upgrades_of_a_sequence_come_in_its_order(sequence, capsys, monkeypatch):
    assert list(load_upgrades(sequence)) == ["first", "second_from_1", "second_from_0.5"]
    monkeypatch.setattr(sys, "argv", ["table", str(sequence)])
    table.main()
    printed = capsys.readouterr().out
    assert printed.count("| rqt |") == 3
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


def test_results_of_earlier_versions_are_read(tmp_path):
    path = tmp_path / "rqt-s0.json"
    content = asdict(RESULT)
    for name in ("trained_on", "images_skipped", "starts_at", "training_seconds"):
        del content[name]
    path.write_text(json.dumps(content))
    assert load_result(path) == RESULT


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
    content = {**asdict(RESULT), "seconds": seconds, "starts_at": starts_at}
    del content["training_seconds"]
    (tmp_path / "old-s0.json").write_text(json.dumps(content))
    assert load_result(tmp_path / "old-s0.json").training_seconds == expected


@pytest.mark.parametrize("metric", list(METRICS))
def test_a_sequence_is_drawn_in_every_metric(sequence, metric):
    first, *seconds = load_upgrades(sequence).values()
    assert len(plot_sequence(first, seconds, metric).axes) == 2


def test_upgrades_that_do_not_belong_together_are_refused(sequence):
    (sequence / "second_from_1/rqt-s0.json").unlink()
    with pytest.raises(InputError, match=r"second_from_1: no result of rqt"):
        load_upgrades(sequence)
    save_result(RESULT, sequence / "rqt-s0.json")
    with pytest.raises(InputError, match="results beside those of a sequence"):
        load_upgrades(sequence)


def test_a_folder_of_benchmarks_is_not_one(tmp_path):
    save_result(RESULT, result_path(tmp_path, "toy", "rqt", 0))
    with pytest.raises(InputError, match="no results"):
        load_upgrades(tmp_path)
