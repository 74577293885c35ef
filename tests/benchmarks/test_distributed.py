"""Training and extraction in two CPU processes, through the Trainer's own options."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file

from benchmarks.config.parse import parse
from compat.errors import InputError
from compat.results import load_results
from tests import ROOT

TWO = [f"--{part}.trainer.{option}" for part in ("old", "new") for option in ("devices=2", "strategy=ddp")]


@pytest.fixture
def config(tmp_path, image_root):
    """A benchmark of two seconds whose 71 training and 35 gallery images two processes cannot divide evenly."""
    for split in ("train", "val"):
        sorted((image_root / split / "3").iterdir())[0].unlink()
    backbone = {"class_path": "tests.helpers.backbones.TinyConv"}
    training = {
        "model": {"backbone": backbone, "embed_dim": 6},
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False},
    }
    content = {
        "name": "two",
        "data": {
            "class_path": "compat.data.ImageFolder",
            "init_args": {"root": str(image_root), "image_size": 12, "batch_size": 8},
        },
        "old": {**training, "sees": {"classes": 0.5}},
        "new": training,
        "heads": {"trainer": {**training["trainer"]}, "batch_size": 16},
        "methods": {
            "independent": {"class_path": "compat.methods.Upgrade"},
            "rqt": {"class_path": "compat.methods.ReverseQuery", "init_args": {"hidden": 8}},
        },
        "replay": {"orders": 1, "progress": 3},
    }
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def run(config, name, *arguments, launcher=("-m", "benchmarks.run")):
    """The figures and the tensors of each stage, by the stage's name."""
    folder = config.parent / name
    command = [sys.executable, *launcher, str(config), f"--runs={folder / 'runs'}", f"--results={folder}", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    records = {p.parent: json.loads(p.read_text()) for p in (folder / "runs").glob("*/record.json")}
    stages = {record["label"].replace(" ", "-"): path for path, record in records.items()}
    return {f"{r.name}-s{r.seed}": r for r in load_results(folder / "two")}, stages


def tensors(stage):
    return load_file(stage / "tensors.safetensors")


@pytest.mark.slow
def test_two_processes_extract_what_one_does_image_for_image(config):
    alone, stages = run(config, "one")
    weights = [f"--{part}.checkpoint={stages[f'train-{part}'] / 'tensors.safetensors'}" for part in ("old", "new")]
    together, shared = run(config, "two", *weights, *TWO)
    for part in ("old", "new"):
        expected, found = tensors(stages[f"extract-{part}"]), tensors(shared[f"extract-{part}"])
        assert found.keys() == expected.keys()
        assert {name: len(rows) for name, rows in found.items()} == {"train": 71, "gallery": 35}
        for name, rows in expected.items():
            torch.testing.assert_close(found[name], rows, rtol=1e-5, atol=1e-6)
    assert not list((config.parent / "two/runs").rglob("rows-*"))
    for name, result in alone.items():
        assert together[name].mean_ap == pytest.approx(result.mean_ap, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [[], ["--data.images_per_class=4"]], ids=["shuffled", "identities"])
def test_two_processes_train_one_model(config, batches):
    results, stages = run(config, "ddp", *TWO, *batches)
    assert set(results) == {"independent-s0", "rqt-s0"}
    for part in ("old", "new"):
        assert not list(stages[f"train-{part}"].glob("*.ckpt"))
        assert len(tensors(stages[f"extract-{part}"])["gallery"]) == 35
        rows = (stages[f"train-{part}"] / "csv/version_0/metrics.csv").read_text().splitlines()
        assert len(rows) == 3  # a header and two epochs, from one process


@pytest.mark.slow
def test_torchrun_may_start_the_processes_and_the_first_one_saves_their_state(config, tmp_path):
    script = tmp_path / "saving.py"
    lines = ["from benchmarks import run", "from benchmarks.artifacts import training"]
    script.write_text("\n".join([*lines, "training.SAVE_INTERVAL = 0.0", "run.main()", ""]))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script))
    results, stages = run(config, "torchrun", *TWO, launcher=launcher)
    assert set(results) == {"independent-s0", "rqt-s0"}
    assert not [path for stage in stages.values() for path in stage.glob("*.ckpt")]


@pytest.mark.parametrize(
    ("arguments", "world", "message"),
    [
        (TWO[:2], None, "new.trainer: {'devices': 1, 'num_nodes': 1}, expected the old model's {'devices': '2'"),
        (["--heads.trainer.devices=2"], None, "expected one device (heads are trained in one process)"),
        (["--heads.trainer.num_nodes=2"], None, "expected one device (heads are trained in one process)"),
        ([], "2", "old.trainer.devices: 1, expected 2 as the launcher has started that many processes"),
    ],
)
def test_processes_that_would_do_the_same_work_twice_are_refused(config, monkeypatch, arguments, world, message):
    if world:
        monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(InputError, match=re.escape(message)):
        parse([str(config)], arguments)


def test_one_chosen_device_is_one(config):
    assert parse([str(config)], ["--heads.trainer.devices=[0]", "--old.trainer.devices=[1]"])
