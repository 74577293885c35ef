"""Plots of results; they need no torch."""

import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Annotation, Text

from benchmarks import plot
from compat.curve_metrics import ALWAYS
from compat.plots.curves import plot_cost, plot_curves, plot_sequence
from compat.plots.errors import plot_errors
from compat.results import (
    collect,
    load_results,
    load_upgrades,
)
from tests import ROOT
from tests.helpers.running import main
from tests.helpers.toy import RESULT, curved, folder, labelled


def test_the_cost_plot_has_a_point_for_each_row(tmp_path):
    (panel,) = plot_cost(load_results(folder(tmp_path))).axes
    assert {text.get_text() for text in panel.texts} == {"rqt", "best"}
    many = [labelled(replace(RESULT, training_seconds=n + 1.0), method=f"row{n:02}") for n in range(40)]
    figure = plot_cost(many, ["row07"])
    assert {text.get_text() for text in figure.axes[0].texts} == {"row07"}
    assert figure.axes[0].get_title(loc="right") == "grey: 39 others"
    figure = plot_cost(many[:25])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 25
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_errors_are_drawn_as_expected_and_as_observed(tmp_path, capsys, monkeypatch):
    refits = {"progress": [0.1, 0.5], "expected": [0.4, 0.2], "observed": [0.5, 0.25]}
    rows = [labelled(replace(RESULT, refits=refits), method="own", seed=seed) for seed in range(2)] + [RESULT]
    (panel,) = plot_errors(rows).axes
    assert [np.asarray(line.get_ydata()).tolist() for line in panel.lines] == [[0.5, 0.25], [0.4, 0.2]] * 2
    assert [np.asarray(line.get_xdata()).tolist() for line in panel.lines] == [[10.0, 50.0]] * 4
    assert panel.get_legend_handles_labels()[1] == ["own"]
    code, error = main(capsys, monkeypatch, folder(tmp_path), "--errors", "-o", tmp_path / "e.png", command=plot)
    assert code == 2
    assert error == "error: errors: no row with a world model, expected one such as own_forward"


def test_what_is_measured_is_drawn_in_percent_as_the_table_has_it(tmp_path):
    figure = plot_curves(load_results(folder(tmp_path)))
    assert [panel.get_ylabel() for panel in figure.axes] == [
        "mAP (%, higher is better)", "CMC@1 (%, higher is better)"
    ]  # fmt: skip
    assert all(1 < panel.get_ylim()[1] <= 101 for panel in figure.axes)


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
    many = [labelled(curved(mean_ap=[0.2, 0.3, 0.5 + n / 100]), method=f"m{n:02}") for n in range(27)]
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


def test_a_sequence_is_drawn_over_what_is_re_extracted(sequence, tmp_path, capsys, monkeypatch):
    after, overlapping = plot_sequence(list(load_upgrades(sequence).values())).axes
    drawn = {tuple(np.asarray(line.get_xdata()).tolist()) for line in after.lines if line.get_marker() == "o"}
    assert drawn == {(0.0, 0.5, 1.0), (1.0, 1.5, 2.0)}
    drawn = {tuple(np.asarray(line.get_xdata()).tolist()) for line in overlapping.lines if line.get_marker() == "o"}
    assert drawn == {(0.0, 0.5), (0.5, 1.0, 1.5)}
    monkeypatch.setattr(sys, "argv", ["plot", str(sequence), "-o", str(tmp_path / "sequence.png")])
    plot.main()
    assert (tmp_path / "sequence.png").stat().st_size > 1000


def test_each_later_upgrade_has_a_row_of_panels_with_the_models_that_it_goes_between(tmp_path):
    levels = [{"mean_ap": value, "cmc_1": value, "cmc_5": value} for value in (0.1, 0.3, 0.5, 0.7, 0.9)]
    for name, number, starts_at in (
        ("first", 1, 0.0), ("second_from_1", 2, 1.0), ("second_from_0.5", 2, 0.5), ("third_from_1", 3, 1.0),
        ("third_from_0.5", 3, 0.5), ("4th_from_0.5", 4, 0.5),
    ):  # fmt: skip
        old = levels[number - 1 - (starts_at == 0.5)]
        collect(tmp_path, [labelled(replace(RESULT, starts_at=starts_at, old=old, new=levels[number]), upgrade=name)])
    figure = plot_sequence(list(load_upgrades(tmp_path).values()))
    panels = {panel.get_title(): panel for panel in figure.axes if panel.axison}
    assert list(panels) == [
        "second upgrade after the first",
        "second upgrade when the first is at 50%",
        "third upgrade after the second",
        "third upgrade when the second is at 50%",
        "4th upgrade when the third is at 50%",
    ]
    for title, expected in (
        ("second upgrade after the first", {"first model": 10, "second model": 30, "third model": 50}),
        ("third upgrade when the second is at 50%", {"second model": 30, "third model": 50, "4th model": 70}),
        ("4th upgrade when the third is at 50%", {"third model": 50, "4th model": 70, "5th model": 90}),
    ):
        lines = {line.get_label(): line for line in panels[title].lines if line.get_linestyle() == "--"}
        assert {name: np.asarray(line.get_ydata())[0] for name, line in lines.items()} == pytest.approx(expected)
        begins = [np.asarray(line.get_xdata())[0] for line in panels[title].lines if line.get_marker() == "o"]
        assert begins == [0.0, 1.0 if "after" in title else 0.5]


@pytest.mark.parametrize("metric", list(ALWAYS))
def test_a_sequence_is_drawn_in_every_metric(sequence, metric):
    assert len(plot_sequence(list(load_upgrades(sequence).values()), metric).axes) == 2
