"""Ranks over data sets, and their diagram."""

from dataclasses import replace
from itertools import pairwise
from math import erfc, exp, pi, sqrt

import numpy as np
import pytest

from compat.errors import InputError
from compat.plots.ranks import plot_ranks
from compat.ranks import rank
from compat.results.summaries import SUMMARIES
from compat.statistics import critical_difference, friedman, moderated, within
from tests.helpers.toy import RESULT, curved, labelled


def result(method, gain, backbone="", **labels):
    """One of a relative gain: the curve is flat."""
    of = labelled(method=method, **labels)
    return replace(curved(of, mean_ap=[0.2 + 0.4 * gain] * 3), backbones=[backbone] if backbone else [])


def folder(**gains):
    """Results of methods: one gain for each training."""
    return [result(name, gain, f"b{n}") for name, of_method in gains.items() for n, gain in enumerate(of_method)]


def slow(folders):
    """Mean ranks by counting, in the words of the documentation."""
    names = sorted(set.intersection(*({r.name for r in results} for results in folders.values())))
    means: dict[str, list[float]] = {name: [] for name in names}
    for results in folders.values():
        in_folder: dict[str, list[float]] = {name: [] for name in names}
        for backbones in {tuple(r.backbones) for r in results}:
            gains = {}
            for name in names:
                gains[name] = np.mean([r.auc for r in results if tuple(r.backbones) == backbones and r.name == name])
            for name in names:
                above = sum(other > gains[name] + 1e-12 for other in gains.values())
                level = sum(abs(other - gains[name]) < 1e-12 for other in gains.values())
                in_folder[name].append(above + (level + 1) / 2)
        for name in names:
            means[name].append(float(np.mean(in_folder[name])))
    return {name: float(np.mean(ranks)) for name, ranks in means.items()}


def test_ranks_are_averaged_over_trainings_then_over_folders():
    found = rank({"a": folder(x=[0.9, 0.9, 0.1], y=[0.5, 0.5, 0.5]), "b": folder(x=[0.1], y=[0.2])})
    assert [(row.name, row.ranks, row.rank.mean) for row in found.ranked] == [
        ("y", [pytest.approx(5 / 3), 1.0], pytest.approx(4 / 3)),
        ("x", [pytest.approx(4 / 3), 2.0], pytest.approx(5 / 3)),
    ]
    assert found.blocks == {"a": 3, "b": 1}
    assert np.isnan(found.friedman)
    assert found.ranked[1].values == {"a": pytest.approx([0.9, 0.9, 0.1]), "b": pytest.approx([0.1])}


def test_seeds_of_one_training_are_averaged_before_ranking():
    seeds = [result("x", gain, seed=n) for n, gain in enumerate((0.9, 0.1, 0.2))]
    found = rank({"a": [*seeds, result("y", 0.45)], "b": [result("x", 0.3), result("y", 0.3)]})
    assert {row.name: row.ranks for row in found.ranked} == {"y": [1.0, 1.5], "x": [2.0, 1.5]}
    assert found.blocks == {"a": 1, "b": 1}


def test_ranks_are_those_of_a_slow_count():
    random = np.random.default_rng(0)
    for _ in range(5):
        folders = {
            name: folder(**{f"m{n}": np.round(random.random(blocks), 1) for n in range(6)})
            for name, blocks in (("a", 1), ("b", 3), ("c", 4))
        }
        found = rank(folders)
        assert {row.name: row.rank.mean for row in found.ranked} == pytest.approx(slow(folders))
        means = [row.rank.mean for row in found.ranked]
        assert means == sorted(means)
        assert all(1 <= row.rank.low <= row.rank.mean <= row.rank.high <= 6 for row in found.ranked)
        assert found.ranked[0].equal


def test_methods_that_a_folder_lacks_have_no_rank_and_a_training_that_lacks_one_is_left_out():
    most = folder(x=[0.1, 0.9], y=[0.2, 0.5], alone=[0.9, 0.9])
    found = rank({"a": [*most, result("x", 0.0, "b9")], "b": folder(x=[0.1], y=[0.2])})
    assert [row.name for row in found.ranked] == ["y", "x"]
    assert found.blocks == {"a": 2, "b": 1}
    (other,) = found.others
    assert (other.name, other.values) == ("alone", {"a": pytest.approx([0.9, 0.9])})


def test_what_cannot_be_ranked_is_refused():
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
    with pytest.warns(UserWarning, match="undefined"), pytest.raises(InputError, match="figure of x in b is undefined"):
        rank({"a": one, "b": level})
    assert len(rank({"a": one, "b": level}, "auc").ranked) == 2


@pytest.mark.parametrize("metric", list(SUMMARIES))
def test_every_metric_ranks_what_is_better_first(metric):
    measured = {"old": {**RESULT.old, "ndcg_10": 0.3}, "new": {**RESULT.new, "ndcg_10": 0.7}}
    good = labelled(replace(curved(ndcg_10=[0.3, 0.4, 0.7]), **measured), method="good")
    worse = {"mean_ap": [0.15, 0.1, 0.5], "ndcg_10": [0.2, 0.3, 0.6], "cmc_1": [0.2, 0.3, 0.6]}
    bad = labelled(curved(good, **worse, negative_flip_rate=[0.2, 0.3, 0.4]), method="bad")
    found = rank({"a": [good, bad], "b": [bad, good]}, metric)
    assert [row.name for row in found.ranked] == ["good", "bad"]


@pytest.mark.parametrize(("methods", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_nemenyi_has_the_published_quantiles(methods, quantile):
    for data_sets in (4, 14):
        found = critical_difference(methods, data_sets)
        assert found / (methods * (methods + 1) / (6 * data_sets)) ** 0.5 == pytest.approx(quantile, abs=1e-3)


def test_friedman_is_its_formula():
    ranks = np.array([[1, 2, 3, 4], [1, 3, 2, 4], [2, 1, 3, 4], [1, 2, 4, 3.0]])
    data_sets, methods = ranks.shape
    chi = 12 * data_sets / (methods * (methods + 1)) * (np.sum(ranks.mean(0) ** 2) - methods * (methods + 1) ** 2 / 4)
    x = chi / 2  # of chi-square with 3 degrees: erfc(sqrt(x)) + 2 sqrt(x / pi) exp(-x)
    assert friedman(ranks) == pytest.approx(erfc(sqrt(x)) + 2 * sqrt(x / pi) * exp(-x))
    assert friedman(np.full((3, 4), 2.5)) == 1.0


def test_runs_are_the_longest_within_a_difference():
    random = np.random.default_rng(0)
    for _ in range(50):
        means = np.sort(random.integers(0, 20, 8) / 2).tolist()
        pairs = {(i, j) for i in range(8) for j in range(i + 1, 8) if means[j] - means[i] < 2}
        longest = {(i, j) for i, j in pairs if not any(a <= i and j <= b and (a, b) != (i, j) for a, b in pairs)}
        assert within(means, 2.0) == sorted(longest)


def test_few_values_that_agree_by_chance_have_an_interval_nevertheless():
    mean, low, high = moderated(np.array([2.0, 2.0]), 0.5)
    assert (mean, high - mean, mean - low) == pytest.approx((2.0, *[4.302653 * (0.25 / 2) ** 0.5] * 2))
    mean, _, high = moderated(np.array([1.0, 2.0, 3.0]), 1.0)
    assert high - mean == pytest.approx(2.776445 / 3**0.5)


def test_a_few_data_sets_that_agree_tell_the_best():
    gains = {f"m{n}": [n / 10] for n in range(8)}
    swapped = {**gains, "m6": gains["m7"], "m7": gains["m6"]}
    found = rank({"a": folder(**gains), "b": folder(**swapped), "c": folder(**gains), "d": folder(**gains)})
    assert [row.name for row in found.ranked] == [f"m{n}" for n in range(7, -1, -1)]
    assert [row.equal for row in found.ranked] == [True, True, *[False] * 6]


def test_the_diagram_has_a_row_for_each_method_and_bars_for_what_nemenyi_does_not_tell():
    gains = {f"m{n:02}": [n / 50] for n in range(40)}
    found = rank({name: folder(**gains) for name in "abcd"})
    figure = plot_ranks(found)
    figure.draw_without_rendering()
    (panel,) = figure.axes
    labels = panel.get_yticklabels()
    assert [label.get_text() for label in labels] == [f"m{n:02}" for n in range(39, -1, -1)]
    boxes = [label.get_window_extent() for label in labels]
    assert all(lower.y1 <= upper.y0 for upper, lower in pairwise(boxes))
    means = [float(np.asarray(line.get_xdata())[0]) for line in panel.lines if line.get_marker() == "o"]
    assert means == [row.rank.mean for row in found.ranked]
    bars = [tuple(np.asarray(line.get_ydata()).tolist()) for line in panel.lines if line.get_linewidth() == 2.5]
    runs = within(means, found.critical_difference)
    assert bars == [(first - 0.25, last + 0.25) for first, last in runs]
    assert len(runs) > 1


def test_full_agreement_is_not_certainty():
    found = rank({name: folder(x=[0.3], y=[0.2], z=[0.1]) for name in "abc"})
    half = 2.776445 * (0.25 / 2 / 3) ** 0.5
    assert [(row.rank.low, row.rank.high) for row in found.ranked] == [
        pytest.approx(ends) for ends in ((1, 1 + half), (2 - half, 2 + half), (3 - half, 3))
    ]
    assert [row.equal for row in found.ranked] == [True, True, False]
