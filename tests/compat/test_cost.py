"""Curves against what is spent, and the gain at equal cost."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import plot
from benchmarks import table as command
from benchmarks.tables.document import write_tables
from benchmarks.tables.table import table
from compat.cost import Cost, against_cost, mean_up_to, spent, until
from compat.curve import area
from compat.errors import InputError
from compat.plots.curves import plot_curves, plot_multiples
from compat.plots.spent import spent_axis
from compat.results import collect, load_results
from compat.results.lines import line_of, result_of
from tests.helpers.running import main
from tests.helpers.toy import RESULT, curved, labelled

PLAIN = {"seconds": Cost(0.5, 0.5, [0.0], [0.0], [0.0]), "bytes": Cost(64.0, 64.0, [0.0], [0.0], [0.0])}
FORWARD = {"seconds": Cost(0.5, 0.5, [0.0], [3.0], [0.1]), "bytes": Cost(64.0, 64.0, [0.0], [0.0], [64.0])}
PARTS = st.floats(0, 1)


def walked(cost, progress, values, old, items):
    """The points of `against_cost`, by walking from one completion ratio to the next."""
    x, points = 0.0, [(0.0, old)]
    waiting = list(zip(cost.at, [f + items * e for f, e in zip(cost.fixed, cost.each, strict=True)], strict=True))
    for number, (ratio, value) in enumerate(zip(progress, values, strict=True)):
        x += sum(step for at, step in waiting if at <= ratio)
        waiting = [(at, step) for at, step in waiting if at > ratio]
        if number:
            points.append((x, values[number - 1]))
            x += items * cost.item * (ratio - progress[number - 1])
        else:
            x += items * cost.item * ratio
            points.append((x, old))
        points.append((x, value))
    return points


def test_a_plain_backfill_is_paid_item_by_item():
    cost = Cost(plain=2, item=2)
    assert spent(cost, [0.0, 0.5, 1.0], 10).tolist() == [0, 10, 20]
    x, values = against_cost(cost, [0.0, 0.5, 1.0], [0.2, 0.3, 0.6], 0.1, 10)
    assert mean_up_to(x, values, 20) == pytest.approx(area([0.0, 0.5, 1.0], [0.2, 0.3, 0.6]))
    assert mean_up_to(x, values, 10) == pytest.approx(0.25)


def test_a_forward_method_maps_and_writes_all_items_before_it_serves():
    seconds = Cost(plain=2, item=2, at=[0.0], fixed=[5], each=[0.5])
    x, values = against_cost(seconds, [0.0, 0.5, 1.0], [0.4, 0.5, 0.6], 0.2, 10)
    assert list(zip(x, values, strict=True)) == [
        (0, 0.2), (10, 0.2), (10, 0.4), (10, 0.4), (20, 0.5), (20, 0.5), (30, 0.6)
    ]  # fmt: skip
    assert mean_up_to(x, values, 20) == pytest.approx((10 * 0.2 + 10 * 0.45) / 20)
    written = against_cost(Cost(512, 512, [0.0], [0], [512]), [0.0, 0.5, 1.0], [0.4, 0.5, 0.6], 0.2, 10)
    assert written[0][-1] == 2 * 10 * 512
    assert mean_up_to(*written, 10 * 512) == pytest.approx(0.2)  # as much as a plain backfill, for the old items alone


def test_two_refits_are_paid_before_they_raise_the_curve():
    cost = Cost(plain=1, item=1, at=[0.0, 0.25, 0.5], fixed=[0, 2, 0], each=[0, 0, 0.5])
    assert spent(cost, [0.0, 0.25, 0.5, 1.0], 8).tolist() == [0, 4, 10, 14]
    x, values = against_cost(cost, [0.0, 0.25, 0.5, 1.0], [0.2, 0.3, 0.5, 0.6], 0.2, 8)
    assert list(zip(x, values, strict=True)) == [
        (0, 0.2), (0, 0.2), (0, 0.2), (2, 0.2), (4, 0.3), (8, 0.3), (10, 0.5), (10, 0.5), (14, 0.6)
    ]  # fmt: skip
    assert mean_up_to(x, values, 8) == pytest.approx((2 * 0.2 + 2 * 0.25 + 4 * 0.3) / 8)


def test_a_refit_between_two_completion_ratios_counts_at_the_later_one():
    assert spent(Cost(1, 1, at=[0.3], fixed=[0], each=[1]), [0.0, 0.25, 0.5], 8).tolist() == [0, 2, 12]


@given(
    st.lists(PARTS, min_size=1, max_size=6, unique=True).map(sorted),
    st.lists(st.tuples(PARTS, PARTS, PARTS), max_size=4),
    st.tuples(PARTS, st.integers(1, 50)),
    st.data(),
)
def test_it_is_the_walk_from_ratio_to_ratio(progress, refits, given_cost, data):
    item, items = given_cost
    steps = [list(part) for part in zip(*sorted(refits), strict=True)] or [[], [], []]
    values = data.draw(st.lists(PARTS, min_size=len(progress), max_size=len(progress)))
    cost = Cost(1.0, item, *steps)
    found = np.array(against_cost(cost, progress, values, 0.5, items)).T
    assert found == pytest.approx(np.array(walked(cost, progress, values, 0.5, items)), abs=1e-6)
    assert (np.diff(found[:, 0]) >= 0).all()


@given(st.lists(PARTS, min_size=2, max_size=6), st.floats(0.01, 3), st.floats(0, 3))
def test_a_later_start_of_a_curve_above_the_old_system_never_gains(values, budget, once):
    progress = np.linspace(0, 1, len(values))
    soon, late = (against_cost(Cost(1, 1, [0.0], [start], [0.0]), progress, values, 0.0, 1) for start in (0.0, once))
    assert mean_up_to(*late, budget) <= mean_up_to(*soon, budget) + 1e-9


def test_a_curve_is_cut_at_the_budget_or_continued_to_it():
    x, values = np.array([0.0, 2.0, 2.0, 4.0]), np.array([0.1, 0.1, 0.3, 0.5])
    assert [part.tolist() for part in until(x, values, 3.0)] == [[0, 2, 2, 3], [0.1, 0.1, 0.3, 0.4]]
    assert [part.tolist() for part in until(x, values, 2.0)] == [[0, 2], [0.1, 0.1]]
    assert [part.tolist() for part in until(x, values, 9.0)] == [[0, 2, 2, 4, 9], [0.1, 0.1, 0.3, 0.5, 0.5]]


def test_the_gain_at_equal_cost_of_a_plain_backfill_is_its_relative_gain():
    plain = replace(RESULT, cost=PLAIN)
    for quantity in PLAIN:
        for items in (None, 7, 10**9):
            assert plain.gain_at_equal(quantity, items) == pytest.approx(plain.relative_gain)


def test_the_gain_at_equal_seconds_approaches_that_of_a_free_start_in_a_large_gallery():
    forward = replace(curved(mean_ap=[0.4, 0.5, 0.6]), cost=FORWARD)
    # 20 items: 10 s of a plain backfill; 3 s of training and 2 s of mapping, then 5 s from 0.4 to 0.5
    assert forward.gain_at_equal("seconds") == pytest.approx((0.5 * 0.2 + 0.5 * 0.45 - 0.2) / 0.4)
    # mapping alone takes a fifth of a plain backfill, then 0.4 to 0.56
    limit = (0.2 * 0.2 + 0.5 * 0.45 + 0.3 * 0.53 - 0.2) / 0.4
    found = [forward.gain_at_equal("seconds", items) for items in (4, 20, 200, 10**9)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0)
    assert found[-1] == pytest.approx(limit)
    assert forward.gain_at_equal("bytes") == pytest.approx(0)


def test_without_its_cost_a_result_has_no_gain_at_equal_seconds():
    assert math.isnan(RESULT.gain_at_equal("seconds"))
    assert math.isnan(replace(RESULT, cost={"seconds": Cost(0.0, 0.0)}).gain_at_equal("seconds"))


def test_flips_start_at_none():
    x, values = replace(RESULT, cost=FORWARD).against("seconds", "negative_flip_rate")
    assert values[:3].tolist() == [0, 0, 0]
    assert x[1] == pytest.approx(0.5)


def test_a_line_keeps_the_cost():
    assert result_of(line_of(replace(RESULT, cost=FORWARD))).cost == FORWARD
    assert result_of(line_of(RESULT)).cost == {}
    old = json.loads(line_of(RESULT))
    del old["cost"]
    assert result_of(json.dumps(old)).cost == {}


@pytest.mark.parametrize(
    "cost",
    [
        [1.0],
        {"seconds": None},
        {"seconds": {"plain": 1.0}},
        {"seconds": {"plain": "1", "item": 1.0, "at": [], "fixed": [], "each": []}},
        {"seconds": {"plain": 1.0, "item": 1.0, "at": [0.0], "fixed": [0.0], "each": []}},
        {"seconds": {"plain": 1.0, "item": 1.0, "at": [], "fixed": [], "each": [], "more": 1}},
    ],
)
def test_a_damaged_cost_is_told(cost):
    with pytest.raises(ValueError, match="column 'cost'"):
        result_of(json.dumps({**json.loads(line_of(RESULT)), "cost": cost}))


def rows_of_a_folder(tmp_path):
    forward = replace(curved(mean_ap=[0.4, 0.5, 0.6]), cost=FORWARD)
    results = [
        labelled(replace(RESULT, cost=PLAIN), method="independent"),
        labelled(forward, method="fct"),
        labelled(RESULT, method="rqt"),
    ]
    collect(tmp_path / "toy", results)
    return tmp_path / "toy"


def test_a_wide_table_has_a_column_where_seconds_were_measured(tmp_path):
    results = load_results(rows_of_a_folder(tmp_path))
    names, _, *rows = [line.split(" | ") for line in table(results).splitlines() if line.startswith("|")]
    place = names.index("gain at equal seconds (%)")
    assert {row[0].strip("| "): row[place] for row in rows} == {"independent": "37.50", "fct": "31.25", "rqt": "-"}
    assert "equal seconds" not in table([r for r in results if r.method == "rqt"])
    large = table(results, items=200).splitlines()
    assert "gain at equal seconds, 200 items (%)" in large[2]
    assert any("| 53.32 |" in line for line in large if line.startswith("| fct"))


def test_the_command_and_a_document_take_a_size_of_the_gallery(tmp_path, capsys, monkeypatch):
    place = rows_of_a_folder(tmp_path)
    command.main([str(place), "--wide", "--items", "200"])
    shown = capsys.readouterr().out
    assert "gain at equal seconds, 200 items (%)" in shown
    (tmp_path / "doc.md").write_text("<!-- table: toy items=200 method=fct -->\n<!-- end -->\n")
    written = write_tables(tmp_path / "doc.md")
    assert "gain at equal seconds, 200 items (%)" in written
    assert "independent" not in written
    (tmp_path / "doc.md").write_text("<!-- table: toy items=none -->\n<!-- end -->\n")
    with pytest.raises(InputError, match="items: none, expected"):
        write_tables(tmp_path / "doc.md")
    code, error = main(capsys, monkeypatch, place, "--items", "200", command=command)
    assert (code, error.split(",")[0]) == (2, "error: items: without --wide")
    code, error = main(capsys, monkeypatch, place, "--wide", "--items", "0", command=command)
    assert (code, error) == (2, "error: items: 0, expected at least 1")


def test_the_plot_is_against_what_is_spent_up_to_twice_a_plain_backfill(tmp_path):
    plain = [labelled(replace(RESULT, cost=PLAIN), method="independent", seed=seed) for seed in range(2)]
    slower = {"seconds": Cost(1.0, 1.0, [0.0], [6.0], [0.2])}
    forward = [
        labelled(replace(curved(mean_ap=[0.4, 0.5, 0.6 + 0.1 * seed]), cost=cost), method="fct", seed=seed)
        for seed, cost in enumerate((FORWARD, slower))
    ]
    (panel,) = plot_curves([*plain, *forward], ["mean_ap"], axis=spent_axis([*plain, *forward], "seconds")).axes
    unit = np.mean([10, 10, 10, 20])
    assert panel.get_xlim() == (0, pytest.approx(2 * unit))
    assert panel.get_xlabel() == "seconds spent, for 20 items"
    lines = {line.get_label(): (line.get_xdata(), line.get_ydata()) for line in panel.lines}
    x, y = lines["fct"]
    assert np.array(x) / unit == pytest.approx([0, 0.5, 0.5, 0.5, 1, 1, 1.5, 2])  # the slower seed in its own seconds
    assert y == pytest.approx([20, 20, 40, 40, 50, 50, 65, 65])
    x, y = lines["independent"]
    assert np.array(x) / unit == pytest.approx([0, 0, 0, 0, 0.5, 0.5, 1, 2])
    several = plot_multiples([*plain, *forward], "order", axis=spent_axis([*plain, *forward], "seconds", 10**6))
    assert several.axes[0].get_xlabel() == "seconds spent, for 1,000,000 items"


def test_the_plot_command_refuses_what_was_not_measured_in_one_line(tmp_path, capsys, monkeypatch):
    place, image = rows_of_a_folder(tmp_path), tmp_path / "p.png"
    plot.main([str(place), "-o", str(image), "--x", "bytes", "--items", "1000", "--only", "method=independent,fct"])
    assert image.exists()
    for arguments, expected in (
        (["--x", "seconds"], "x: seconds were not measured for rqt, expected newer results: run the benchmark again"),
        (["--items", "10"], "items: 10, expected it with --x seconds or --x bytes"),
        (["--x", "bytes", "--items", "0"], "items: 0, expected at least 1"),
        (["--x", "bytes", "--cost"], "x: bytes with --cost, expected one of them"),
    ):
        assert main(capsys, monkeypatch, place, "-o", image, *arguments, command=plot) == (2, f"error: {expected}")


def test_a_sequence_is_drawn_one_upgrade_at_a_time(tmp_path, capsys, monkeypatch):
    first, second = (labelled(replace(RESULT, cost=PLAIN), upgrade=name) for name in ("first", "second_from_1"))
    collect(tmp_path / "toy", [first, replace(second, starts_at=1.0)])
    drawn = [tmp_path / "toy", "-o", tmp_path / "p.png", "--x", "seconds"]
    code, error = main(capsys, monkeypatch, *drawn, command=plot)
    assert (code, error) == (2, "error: x: seconds of a sequence, expected --only upgrade= and one upgrade")
    plot.main([*map(str, drawn), "--only", "upgrade=second_from_1"])
    assert (tmp_path / "p.png").exists()
