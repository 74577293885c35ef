"""The plot of policies: what is drawn where."""

import numpy as np
import pytest

from compat.errors import InputError
from compat.plots.policies import PolicyPoint, plot_policies
from compat.statistics import Interval

POINTS = [
    PolicyPoint("random", "held out", "", Interval(-1.0, -2.0, 0.5)),
    PolicyPoint("IL", "held out", "deep_sets", Interval(0.5, 0.25, 0.75)),
    PolicyPoint("IL", "within", "deep_sets", Interval(0.75, 0.5, 1.0)),
]


def test_each_environment_has_a_panel_and_each_point_its_interval():
    names = [f"{data}, {setting}" for data in "abcd" for setting in ("same", "bigger")]
    figure = plot_policies({**dict.fromkeys(names, POINTS), names[3]: POINTS[1:]}, "points")
    shown = [panel for panel in figure.axes if panel.axison]
    assert [panel.get_title() for panel in shown] == names
    assert [label.get_text() for label in shown[0].get_yticklabels()] == ["random", "IL"]
    whiskers = [x for x in (np.asarray(line.get_xdata()).tolist() for line in shown[0].lines) if len(x) == 2]
    assert whiskers[1:] == [[-2.0, 0.5], [0.25, 0.75], [0.5, 1.0]]  # after the line at 0
    assert len(shown[3].lines) == len(shown[0].lines) - 2
    rows = [round(np.asarray(line.get_ydata()).item()) for line in shown[0].lines if line.get_marker() in ("o", "s")]
    assert rows == [0, 1, 1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "held out", "held out, deep_sets", "within, deep_sets"
    ]  # fmt: skip


def test_no_points_are_refused():
    with pytest.raises(InputError, match="plot: no points"):
        plot_policies({"a": []}, "points")
