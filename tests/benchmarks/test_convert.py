"""Results in the layout of earlier versions, converted and compared."""

import json
import shutil
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from benchmarks import convert
from benchmarks.experiment.earlier import present
from benchmarks.tables import against
from benchmarks.tables import table as wide
from compat.errors import InputError
from compat.needs import Need
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
    assert before[1].needs == {"merge": ["training distances"]}
    monkeypatch.setattr(sys, "argv", ["convert", str(OLD), str(tmp_path / "new")])
    convert.main()
    after = load_results(tmp_path / "new")
    assert wide.table([replace(r, needs={}) for r in after]) == wide.table([replace(r, needs={}) for r in before])
    assert after[2].needs["method"] == ["training embeddings", "training labels", "head training"]
    assert after[2].needs["merge"] == ["training distances"]
    for result, values in zip(layout_1.load_results(OLD), layout_1.load_query_areas(OLD), strict=True):
        found = load_query_auc(tmp_path / "new", result)
        assert (found is None) == (values is None) == (result.merge == "z_score")
        if found is None or values is None:
            continue
        assert found == pytest.approx(values, abs=1 / 250)
        assert np.mean(found) == pytest.approx(np.mean(values), abs=0.5 / 250 / 5000 + 1e-9)
    experiment = load_experiment(tmp_path / "new")
    assert experiment["trained_on"]["old"]["images"] == 25000
    assert all(experiment["provenance"][name]["git_commit"] for result in after for name in result.provenance)
    missing = dict.fromkeys(("trained_on", "images_skipped", "starts_at", "order", "merge", "merge_needs"))
    assert layout_1.load_result(old_file(tmp_path, **missing)).labels == before[0].labels
    with pytest.raises(InputError, match=r"old-s0.json: no field 'mean_ap', expected a result of the earlier layout"):
        layout_1.load_result(old_file(tmp_path, mean_ap=None))


def test_a_config_of_earlier_versions_is_said_in_the_present_words():
    config = json.loads((OLD / "independent-s0.json").read_text())["config"]
    bict = {"class_path": "compat.methods.BiCT", "init_args": {"backward": 0.1, "hidden": 512}}
    arguments = {"old_classes": 0.3, "old_images": 1.0, "new_classes": [0.3, 1.0], "new_images": 0.5}
    data = {**config["data"], "init_args": {**config["data"]["init_args"], **arguments}}
    found = present({**config, "data": data, "newest": config["new"], "second_starts": [0.5], "methods": {"b": bict}})
    assert found["generations"] == ["old", "new", "newest"]
    assert [found[name]["sees"] for name in found["generations"]] == [
        {"classes": 0.3, "images": 1.0},
        {"classes": [0.3, 1.0], "images": 0.5},
        {"classes": 1.0, "images": 1.0},
    ]
    assert found["starts"] == [0.5]
    assert found["data"]["init_args"].keys() == {"root", "image_size", "min_crop", "num_workers"}
    assert found["old"]["trainer"]["init_args"] == {"max_epochs": 5, "precision": "bf16-mixed"}
    base = {"class_path": "compat.methods.BCT", "init_args": {"weight": 0.1}}
    assert found["methods"]["b"] == {"class_path": bict["class_path"], "init_args": {"hidden": 512}, "based_on": base}
    assert not {"only", "seed", "runs", "newest_classes", "second_starts"} & found.keys()
    assert found["old"]["seed"] == 0


@pytest.mark.parametrize("old", layout_1.NEEDS)
def test_what_a_row_needs_is_said_in_the_present_words(tmp_path, old):
    result = layout_1.load_result(old_file(tmp_path, order_needs=old))
    assert set(result.needs["order"]) <= set(get_args(Need))


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
