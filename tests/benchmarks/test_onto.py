"""Rows of labelled heads alone, and of methods that map onto what another one serves."""

import numpy as np
import pytest
import yaml

from tests.helpers.running import run

RHO = {"init_args": {"hidden": 8}}
METHODS = {
    "rho": {"class_path": "compat.methods.Rho", **RHO},
    "rho_old": {"class_path": "compat.methods.RhoOld", **RHO},
    "independent_rho": {"class_path": "compat.methods.RhoBoth", **RHO},
    "kernel": {"class_path": "compat.methods.KernelGallery", "init_args": {"centres": 4}, "onto": "rho"},
    "both": {"class_path": "compat.methods.KernelGallery", "init_args": {"centres": 4}, "onto": "independent_rho"},
    "back": {"class_path": "compat.methods.ReverseQuery", "init_args": {"hidden": 8}, "onto": "independent_rho"},
    "plain": {"class_path": "compat.methods.Upgrade", "onto": "independent_rho"},
    "own": {"class_path": "compat.experience.OwnForward", "based_on": "kernel"},
}


def test_heads_alone_and_methods_onto_them_are_rows_like_any_method_s(config):
    content = yaml.safe_load(config.read_text())
    content["methods"] = METHODS
    config.write_text(yaml.safe_dump(content))
    found = {name.partition("-")[0]: result for name, result in run(config).items()}
    assert set(found) == set(METHODS)
    start, end = ({name: result.mean_ap[at] for name, result in found.items()} for at in (0, -1))
    rho, both = found["rho"], found["independent_rho"]

    for name, values in found["rho_old"].curves.items():  # no upgrade
        assert name == "negative_flip_rate" or np.ptp(values) == 0, name
    assert start["rho"] == rho.old["mean_ap"]
    assert end["rho"] == end["kernel"] == end["own"] == end["independent_rho"] != rho.new["mean_ap"]
    assert end["both"] == end["back"] == end["independent_rho"]
    assert found["plain"].mean_ap == both.mean_ap

    heads = ["training embeddings", "training labels", "head training"]
    assert found["kernel"].needs["method"] == heads
    assert found["own"].needs["method"] == ["own pairs", *heads]
    assert [name for name in METHODS if not found[name].transforms_gallery] == ["rho", "own"]
    assert (rho.bytes_per_item, both.bytes_per_item, found["back"].bytes_per_item) == (4 * 7, 4 * 13, 4 * 13)
    passes = {name: result.encoder_passes_per_query for name, result in found.items()}
    assert passes == dict.fromkeys(METHODS, 1) | {"rho": 2, "independent_rho": 2, "plain": 2}
    assert found["kernel"].training_seconds == pytest.approx(
        rho.training_seconds + found["kernel"].seconds["learn kernel"], abs=0.02
    )

    embedded = {  # beside what is trained: the training images, once by each model for both methods
        name: found[name].cost["seconds"].fixed[0] - (found[name].training_seconds - rho.seconds["train new"])
        for name in ("rho", "kernel", "independent_rho", "both", "back")
    }
    assert embedded["rho"] > 0
    assert list(embedded.values()) == pytest.approx([embedded["rho"]] * 5, abs=0.03)
    written = {name: found[name].cost["bytes"].each[0] for name in ("rho", "plain", "own")}
    assert written == {"rho": 0, "plain": 4 * 6, "own": 4 * 7}  # own stands on a map of the old gallery
    assert found["plain"].cost["seconds"].each[0] > 0  # the map of the method under it
    assert rho.cost["seconds"].item > rho.cost["seconds"].plain
