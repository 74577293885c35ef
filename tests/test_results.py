"""Results on disk, what is derived from them, and how they are shown; none of it needs torch."""

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import plot, table
from compat.curve import area, relative_gain, sum_of_drops
from compat.errors import InputError
from compat.plot import plot_curves, plot_sequence
from compat.results import METRICS, Result, load_result, load_results, load_upgrades, result_path, save_result

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
)


def folder(tmp_path):
    for seed, shift in enumerate((0.0, 0.02)):
        moved = [value + shift for value in RESULT.mean_ap]
        save_result(replace(RESULT, seed=seed, mean_ap=moved), result_path(tmp_path, "toy", "rqt", seed))
    better = replace(RESULT, method="best", mean_ap=[0.5, 0.7, 0.6], encoder_passes_per_query=2)
    save_result(better, result_path(tmp_path, "toy", "best", 0))
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


def test_the_table_has_a_row_for_each_method_and_means_over_seeds(tmp_path):
    lines = table.table(load_results(folder(tmp_path))).splitlines()
    assert lines[0].startswith("| method | seeds | AUC mAP (%) | relative gain (%) | old mAP (%) | new mAP (%) |")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:3] for row in rows] == [["rqt", "2", "36.00 ± 1.41"], ["best", "1", "62.50"]]
    assert [row[-1] for row in rows] == ["1", "2"]


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
        "import sys; sys.modules['torch'] = None; sys.modules['pytorch_lightning'] = None; "
        f"sys.argv = ['plot', {str(folder(tmp_path))!r}, '-o', {str(tmp_path / 'curve.png')!r}]; "
        "from benchmarks import plot, table; plot.main(); sys.argv = sys.argv[:2]; table.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "| best |" in done.stdout
    assert (tmp_path / "curve.png").stat().st_size > 1000


COMMITTED = sorted({path.parent for path in (ROOT / "results").rglob("*-s*.json")} - {ROOT / "results/digits"})


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: str(folder.relative_to(ROOT / "results")))
def test_tables_in_documents_are_what_the_command_prints(folder):
    documents = ["results/README.md", *(["README.md"] if folder.name == "tiny_imagenet" else [])]
    for document in documents:
        assert table.table(load_results(folder)) in (ROOT / document).read_text()


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
    assert printed.startswith("toy/first\n\n| method |")


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
    for name in ("trained_on", "images_skipped", "starts_at"):
        del content[name]
    path.write_text(json.dumps(content))
    assert load_result(path) == RESULT


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
