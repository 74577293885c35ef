"""Frozen backbones: features extracted once, a projection trained on them, the backbone as it was."""

import shutil
from argparse import Namespace

import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file, save_file

from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import Extracted, FrozenFeatures, Projected, Weights
from benchmarks.artifacts.projected import build_frozen
from benchmarks.artifacts.weights import load_trained
from benchmarks.config.parse import parse
from benchmarks.report.from_config import of_run
from benchmarks.report.wording import warn_of_leaks
from compat import Embeddings
from compat.errors import InputError
from tests.helpers.running import keys, main, planned, run, weights_of

FROZEN = ("--old.frozen=true", "--new.frozen=true", "--only=independent")


def test_features_are_extracted_once_for_all_seeds_and_trainings(config):
    jobs = planned(config, "--seed=[0, 1]", "--old.seed=null", "--new.seed=null", *FROZEN)
    assert len(keys(jobs, Projected)) == 4
    assert len(keys(jobs, FrozenFeatures)) == 1  # both models have this backbone
    assert len(keys(jobs, Extracted)) == 4


def test_a_model_that_is_not_frozen_keeps_its_artifacts(config):
    assert keys(planned(config)) == keys(planned(config, "--old.frozen=false"))
    frozen = planned(config, "--old.frozen=true", "--only=independent")
    assert keys(planned(config, "--only=independent"), Weights) & keys(frozen, Weights)  # of the new model


def test_the_backbone_stays_and_the_projection_learns(config):
    result = run(config, *FROZEN)["independent-s0"]
    spec = parse([str(config)], [*FROZEN]).generations["new"].model
    trained = load_file(weights_of(config, "train new"))
    before = build_frozen(spec).embedder.backbone.state_dict()
    assert {name.removeprefix("backbone.") for name in trained if name.startswith("backbone.")} == before.keys()
    for name, value in before.items():
        assert torch.equal(value, trained[f"backbone.{name}"]), name
    assert result.new["mean_ap"] > 0


def test_the_embeddings_are_those_of_the_whole_model(config):
    run(config, *FROZEN)
    experiment = parse([str(config)], [*FROZEN])
    data, spec = dataset(experiment.data), experiment.generations["new"].model
    model = load_trained(spec, load_file(weights_of(config, "train new")), "new")
    images = torch.stack([data.gallery_images()[row].image for row in range(len(data.gallery_images()))])
    with torch.inference_mode():
        expected = model.embedder(images)
    found = load_file(weights_of(config, "extract new"))["gallery"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--new.checkpoint=w.safetensors",), "new.frozen: true with a checkpoint"),
        (("--new.trainer.devices=2", "--old.trainer.devices=2"), "trainer.devices: 2, expected 1 with a frozen"),
        (("--methods.bct.class_path=compat.methods.BCT", "--only=bct"), "new.frozen: true with bct, which trains"),
    ],
)
def test_what_a_frozen_backbone_excludes_is_refused(config, arguments, words):
    with pytest.raises(InputError, match=words):
        parse([str(config)], ["--old.frozen=true", "--new.frozen=true", *arguments])


@pytest.mark.parametrize("weights", ["missing", "another width"])
def test_weights_that_do_not_fit_are_one_line_before_any_training(config, tmp_path, monkeypatch, capsys, weights):
    file = tmp_path / "w.safetensors"
    if weights != "missing":
        state = timm.create_model("test_efficientnet").state_dict()
        save_file({**state, "conv_stem.weight": state["conv_stem.weight"][:1].contiguous()}, file)
    backbone = {
        "class_path": "compat.backbones.timm_from_file",
        "init_args": {"model_name": "test_efficientnet", "weights": str(file)},
    }
    content = yaml.safe_load(config.read_text())
    content["new"]["model"]["backbone"] = backbone
    config.write_text(yaml.safe_dump(content))
    code, line = main(capsys, monkeypatch, config)
    assert code == 2
    assert line.startswith(f"error: new.model.weights: {'no file ' if weights == 'missing' else ''}{file}"), line
    assert not list(tmp_path.glob("runs/train-*"))


def test_a_report_on_a_config_finds_images_of_the_training_set_in_the_gallery(config, image_root):
    for number in (0, 3):
        shutil.copy(image_root / f"train/{number}/{number}_1.png", image_root / f"val/{number}/{number}_0.png")
    given, _ = of_run(Namespace(folder=str(config), overrides=[*FROZEN]))
    (warning,) = warn_of_leaks(given, Embeddings(**given.arrays))
    assert warning.startswith("2 of 36 items of the gallery are in the training set too, by their old embedding")
