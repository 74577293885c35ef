"""The demonstration of a live migration: what it measures is what the replay foretold."""

import os
import re

import numpy as np
import pytest

from compat.live.__main__ import main
from tests import ROOT


@pytest.mark.slow
def test_a_demonstration_measures_live_what_was_replayed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(SystemExit) as ended:
        main(["demo", "-o", "a.png"])
    out = capsys.readouterr().out
    assert ended.value.code == 0, out
    assert out.count("SIGKILL") == 2
    assert "3 items each were inserted, updated and deleted" in out
    assert "verified and finalized" in out
    figures = [[float(part) for part in re.findall(r"([\d.]+)%", line)] for line in out.splitlines() if "live" in line]
    shares, live, replayed = np.array([row for row in figures if len(row) == 3]).T
    assert (shares[0], shares[-1]) == (0.0, 100.0)
    assert live[-1] > live[0] + 5
    np.testing.assert_array_equal(live, replayed)
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["none/a.png", "folder", "folder.png", "a.xyz", "a", ""])
def test_a_demonstration_refuses_what_is_no_picture_before_it_starts(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("compat.live.verbs.demo.run_story", lambda *_: 1 / 0)
    for folder in ("folder", "folder.png"):
        (tmp_path / folder).mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["demo", "-o", name])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: output: ")
