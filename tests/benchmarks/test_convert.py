"""Results in the layout of earlier versions, converted and compared."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import convert
from benchmarks.report import against
from benchmarks.report import table as wide
from compat.errors import InputError
from compat.results import (
    collect,
    layout_1,
    load_experiment,
    load_query_auc,
    load_results,
)
from tests import ROOT

OLD = ROOT / "tests/fixtures/old_results"


def old_file(tmp_path, **changes):
    content = {**json.loads((OLD / "independent-s0.json").read_text()), **changes}
    path = tmp_path / "old-s0.json"
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return path


def test_the_layout_of_earlier_versions_is_read_and_converted(tmp_path, capsys, monkeypatch):
    names = ["independent", "independent + z_score", "rqt_mcl_rho + z_score", "rqt_mcl_rho"]
    before = load_results(OLD)
    assert [r.name for r in before] == names
    assert before[1].needs == {"merge": ["training images"]}
    monkeypatch.setattr(sys, "argv", ["convert", str(OLD), str(tmp_path / "new")])
    convert.main()
    after = load_results(tmp_path / "new")
    assert wide.table(after) == wide.table(before)
    for result, values in zip(layout_1.load_results(OLD), layout_1.load_query_areas(OLD), strict=True):
        found = load_query_auc(tmp_path / "new", result)
        assert (found is None) == (values is None) == (result.merge == "z_score")
        if found is None or values is None:
            continue
        assert found == pytest.approx(values, abs=1 / 250)
        assert np.mean(found) == pytest.approx(np.mean(values), abs=0.5 / 250 / 5000 + 1e-9)
    assert load_experiment(tmp_path / "new")["trained_on"]["old"]["images"] == 25000
    missing = dict.fromkeys(("trained_on", "images_skipped", "starts_at", "order", "merge", "merge_needs"))
    assert layout_1.load_result(old_file(tmp_path, **missing)).labels == before[0].labels
    with pytest.raises(InputError, match=r"old-s0.json: no field 'mean_ap', expected a result of"):
        layout_1.load_result(old_file(tmp_path, mean_ap=None))


def test_against_finds_what_differs(tmp_path):
    before, here = tmp_path / "before", tmp_path / "here"
    shutil.copytree(OLD, before / "results" / "toy")
    convert.convert(before / "results", here / "results")
    assert list(against.differing_figures(before, here)) == []
    (result, *_) = load_results(here / "results" / "toy")
    collect(here / "results" / "toy", [replace(result, mean_ap=[0.5, *result.mean_ap[1:]])])
    (line,) = against.differing_figures(before, here)
    assert line.startswith("toy  independent seed 0: mean_ap was 6.53 ")
    marker = "<!-- table: toy -->\n{}<!-- end -->\n"
    (one,) = against.cells(marker.format("mAP.\n\n| method | x |\n| --- | --: |\n| rqt | 1 |\n"))
    assert one == {("", "systems"): "mAP.", ("rqt", "method"): "rqt", ("rqt", "x"): "1"}


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
    path = old_file(tmp_path, seconds=seconds, starts_at=starts_at)
    assert layout_1.load_result(path).training_seconds == expected
