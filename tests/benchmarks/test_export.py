"""The matrices of a run in one file, as the replay and the environment take them."""

import math
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchmarks import export, replay
from compat import Embeddings
from compat.models import Classifier
from compat.results import load_results
from tests.helpers.running import main, run

METHODS = "--only=independent"


def test_the_replay_of_what_is_exported_has_the_ends_of_the_run(config, monkeypatch, capsys):
    result = run(config, METHODS, "--seed=1")["independent-s1"]
    made = sorted((config.parent / "runs").glob("*/record.json"))
    path = config.parent / "s1.safetensors"
    monkeypatch.setattr("sys.argv", ["export", str(config), METHODS, "--seed", "1", "-o", str(path)])
    export.main()
    assert sorted((config.parent / "runs").glob("*/record.json")) == made
    given = [part for name in replay.ARRAYS for part in (f"--{name.replace('_', '-')}", f"{path}:{name}")]
    monkeypatch.setattr("sys.argv", ["replay", *given, "-o", str(path.parent / "replayed")])
    replay.main()
    (replayed,) = load_results(path.parent / "replayed")
    assert (replayed.old, replayed.new) == (result.old, result.new)
    tensors: dict[str, Any] = load_file(path)
    entropy = tensors.pop("gallery_entropy")
    assert len(entropy) == len(Embeddings(**tensors).gallery_old)
    assert 0 < float(entropy.min()) < float(entropy.max()) < math.log(12)


def test_the_entropy_of_a_classifier_that_knows_nothing_is_that_of_a_guess():
    classifier = Classifier(3, 5)
    torch.nn.init.zeros_(classifier.linear.weight)
    torch.nn.init.zeros_(classifier.linear.bias)
    assert export.entropy(torch.randn(4, 3), classifier).tolist() == pytest.approx([math.log(5)] * 4)


@pytest.mark.parametrize("path", ["s0.npy", "nowhere/s0.safetensors"])
def test_another_file_is_refused(config, path, monkeypatch, capsys):
    code, line = main(capsys, monkeypatch, config, "--seed", 0, "-o", config.parent / path, command=export)
    assert code == 2
    assert line.startswith("error: output: ")


def test_a_seed_out_of_range_is_refused(config, monkeypatch, capsys):
    output = config.parent / "s.safetensors"
    code, line = main(capsys, monkeypatch, config, "--seed=-1", "-o", output, command=export)
    assert code == 2
    assert line.startswith("error: seed: -1")
