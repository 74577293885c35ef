"""`python -m benchmarks.perf.speed` in small: every way comes to the same curve."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.perf import contenders, speed


def test_the_contenders_agree():
    """What the engine is timed against computes the same mAP."""
    e = contenders.make(60, 80, 16, 5)
    curve = contenders.engine(e, 3)
    assert contenders.rerank(e, [0.0, 0.5, 1.0], chunk=7) == pytest.approx(curve.tolist(), abs=1e-6)
    assert contenders.loop(e, 0.5, 60) == pytest.approx(curve[1], abs=1e-6)


@pytest.mark.slow
def test_speed_is_measured_and_saved(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speed", "--quick", "-o", str(tmp_path / "speed.json")])
    speed.main()
    found = json.loads((tmp_path / "speed.json").read_text())
    assert speed.table(found) in capsys.readouterr().out
    assert found["ratios"]["largest difference of mAP to re-ranking"] < 1e-6


def test_the_documents_have_the_table_of_the_committed_figures():
    found = json.loads(Path("results/speed.json").read_text())
    assert speed.table(found) in Path("docs/speed.md").read_text()
