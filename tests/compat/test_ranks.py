"""Methods compared over data sets, and their plot."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from compat.errors import InputError
from compat.plots.ranks import plot_ranks
from compat.ranks import rank
from compat.results.summaries import SUMMARIES
from compat.statistics import over_seeds
from tests.helpers.toy import RESULT, curved, labelled


def result(method, gain, backbone="", **labels):
    """One of a relative gain: the curve is flat."""
    of = labelled(method=method, **labels)
    return replace(curved(of, mean_ap=[0.2 + 0.4 * gain] * 3), backbones=[backbone] if backbone else [])


def folder(**gains):
    """Results of methods: one gain for each training."""
    return [result(name, gain, f"b{n}") for name, of_method in gains.items() for n, gain in enumerate(of_method)]


def test_figures_are_averaged_over_trainings_then_over_folders():
    found = rank({"a": folder(x=[0.9, 0.9, 0.1], y=[0.5, 0.6, 0.4]), "b": folder(x=[0.1], y=[0.3])})
    assert [(row.name, row.mean.mean, row.effect.mean) for row in found.ranked] == [
        ("y", pytest.approx(0.4), 0.0),
        ("x", pytest.approx((1.9 / 3 + 0.1) / 2), pytest.approx((0.4 / 3 - 0.2) / 2)),
    ]
    assert (found.blocks, found.reference) == ({"a": 3, "b": 1}, "y")
    assert found.ranked[1].values == {"a": pytest.approx([0.9, 0.9, 0.1]), "b": pytest.approx([0.1])}


def test_effects_are_paired_by_training():
    shifted = {"a": folder(x=[0.9, 0.5, 0.1], y=[0.8, 0.4, 0.0]), "b": folder(x=[0.5, 0.4], y=[0.3, 0.3])}
    found = rank(shifted)
    _, y = found.ranked
    assert y.effects["a"] == pytest.approx((-0.1, -0.1, -0.1))
    assert y.effects["b"] == pytest.approx(over_seeds([-0.2, -0.1]))
    assert y.effect.high < 0
    assert not y.equal
    backwards = rank(shifted, against="y").ranked[0]
    assert (backwards.name, backwards.effects["b"].mean) == ("x", pytest.approx(0.15))


def test_seeds_of_one_training_are_averaged_first():
    seeds = [result("x", gain, seed=n) for n, gain in enumerate((0.9, 0.1, 0.2))]
    found = rank({"a": [*seeds, result("y", 0.45)], "b": [result("x", 0.3), result("y", 0.3)]})
    assert {row.name: row.effects["a"].mean for row in found.ranked} == pytest.approx({"y": 0.0, "x": -0.05})
    assert found.blocks == {"a": 1, "b": 1}


def test_folders_that_disagree_do_not_tell_two_methods_unless_they_are_fixed():
    folders = {
        name: folder(x=[gain, gain + 0.01], y=[0.5, 0.51]) for name, gain in (("a", 0.9), ("b", 0.2), ("c", 0.6))
    }
    assert [row.equal for row in rank(folders).ranked] == [True, True]
    fixed = rank(folders, fixed=True)
    assert [(row.name, row.equal) for row in fixed.ranked] == [("x", True), ("y", False)]
    assert fixed.ranked[1].effect == pytest.approx((-0.2 / 3,) * 3)


def test_queries_are_resampled_where_their_figures_were_saved():
    folders = {name: folder(x=[0.6], y=[0.5]) for name in "ab"}
    noise = np.random.default_rng(0).normal(size=400)
    areas = {"x": 0.5 + 0.4 * noise, "y": 0.5 - 0.4 * noise}
    areas["x"][0] = areas["y"][0] = np.nan

    def saved(of_folder, r):
        return areas[r.method] if of_folder == "a" else None

    _, y = rank(folders, fixed=True, query_areas=saved).ranked
    expected = (
        2 * np.std(noise[1:]) / 399**0.5 / 2
    )  # of twice the noise, relative to a range of 0.4; one of two folders
    assert y.effect.mean == pytest.approx(-0.1)
    assert y.effect.high - y.effect.low == pytest.approx(2 * 1.96 * expected, rel=0.1)
    assert rank(folders, fixed=True).ranked[1].effect == pytest.approx((-0.1,) * 3)
    assert rank(folders, "mean_ap_at_0", query_areas=saved).ranked[1].effect.low == pytest.approx(-0.04)


def test_methods_that_a_folder_lacks_have_no_mean_and_a_training_that_lacks_one_is_left_out():
    most = folder(x=[0.1, 0.9], y=[0.2, 0.5], alone=[0.9, 0.9])
    found = rank({"a": [*most, result("x", 0.0, "b9")], "b": folder(x=[0.1], y=[0.1])})
    assert [row.name for row in found.ranked] == ["x", "y"]
    assert found.ranked[0].effects["a"].mean == 0.0
    assert found.blocks == {"a": 2, "b": 1}
    (other,) = found.others
    assert (other.name, other.values) == ("alone", {"a": pytest.approx([0.9, 0.9])})


def test_what_cannot_be_compared_is_refused():
    one = folder(x=[0.1], y=[0.2])
    apart = [result("x", 0.1, "b0"), result("y", 0.1, "b1")]
    level = [replace(r, new=RESULT.old) for r in one]
    for folders, message in (
        ({"a": one}, "1 folder, expected two or more"),
        ({"a": one, "b": folder(x=[0.1], z=[0.2])}, "in all of a, b: x, expected two"),
        ({"a": one, "b": folder(z=[0.2])}, "in all of a, b: none, expected two"),
        ({"a": one, "b": apart}, "no training in b has all methods, one lacks y"),
    ):
        with pytest.raises(InputError, match=message):
            rank(folders)
    with pytest.raises(InputError, match="against: 'z', expected a method in all folders: x, y"):
        rank({"a": one, "b": one}, against="z")
    with pytest.warns(UserWarning, match="undefined"), pytest.raises(InputError, match="figure of x in b is undefined"):
        rank({"a": one, "b": level})
    assert len(rank({"a": one, "b": level}, "auc").ranked) == 2


@pytest.mark.parametrize("metric", list(SUMMARIES))
def test_every_metric_puts_what_is_better_first(metric):
    measured = {"old": {**RESULT.old, "ndcg_10": 0.3}, "new": {**RESULT.new, "ndcg_10": 0.7}}
    good = labelled(replace(curved(ndcg_10=[0.3, 0.4, 0.7]), **measured), method="good")
    worse = {"mean_ap": [0.15, 0.1, 0.5], "ndcg_10": [0.2, 0.3, 0.6], "cmc_1": [0.2, 0.3, 0.6]}
    bad = labelled(curved(good, **worse, negative_flip_rate=[0.2, 0.3, 0.4]), method="bad")
    found = rank({"a": [good, bad], "b": [bad, good]}, metric)
    assert [row.name for row in found.ranked] == ["good", "bad"]


def test_the_plot_has_a_panel_for_each_folder_and_the_mean_and_a_row_for_each_method():
    gains = {f"m{n:02}": [n / 50, n / 50 + 0.01 * (n % 3)] for n in range(40)}
    found = rank({name: folder(**gains) for name in "abc"}, against="m05")
    figure = plot_ranks(found)
    figure.draw_without_rendering()
    assert [panel.get_title() for panel in figure.axes] == ["a", "b", "c", "mean"]
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == [row.name for row in found.ranked]
    boxes = [label.get_window_extent() for label in labels]
    assert all(lower.y1 <= upper.y0 for upper, lower in pairwise(boxes))
    for panel, figures in (
        (figure.axes[0], [over_seeds(row.values["a"]) for row in found.ranked]),
        (figure.axes[3], [row.mean for row in found.ranked]),
    ):
        marks = [float(np.asarray(line.get_xdata())[0]) for line in panel.lines if line.get_marker() == "o"]
        assert marks == pytest.approx([100 * one.mean for one in figures])
        bars = [np.asarray(line.get_xdata()).tolist() for line in panel.lines if line.get_linewidth() == 1.4]
        assert bars == [pytest.approx([100 * one.low, 100 * one.high]) for one in figures]
