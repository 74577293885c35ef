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
    [found] = json.loads((tmp_path / "speed.json").read_text()).values()
    assert speed.table(found) in capsys.readouterr().out
    assert found["ratios"]["largest difference of mAP to re-ranking"] < 1e-6


def test_the_documents_have_the_tables_of_the_committed_figures():
    for found in speed.read(Path("results/speed.json")).values():
        assert speed.table(found) in Path("docs/speed.md").read_text()


def test_figures_of_another_processor_are_kept(tmp_path, monkeypatch, capsys):
    here = next(iter(speed.read(Path("results/speed.json")).values()))
    path = tmp_path / "speed.json"
    path.write_text(json.dumps({"another": here | {"device": "another"}}))
    monkeypatch.setattr(speed, "measure", lambda quick, device: here)
    monkeypatch.setattr(sys, "argv", ["speed", "-o", str(path)])
    speed.main()
    assert list(speed.read(path)) == ["another", here["device"]]
    assert here["device"] in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"size": {"queries": 1}}'])
def test_another_file_is_not_overwritten(tmp_path, monkeypatch, capsys, text):
    path = tmp_path / "speed.json"
    path.write_text(text)
    monkeypatch.setattr(sys, "argv", ["speed", "-o", str(path)])
    with pytest.raises(SystemExit) as stopped:
        speed.main()
    assert stopped.value.code == 2
    assert "expected one or a new file" in capsys.readouterr().err
    assert path.read_text() == text
