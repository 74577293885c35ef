"""Weights from a file: which fit, and what is said of those that do not."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from compat.backbones import timm_from_file
from compat.errors import InputError

NAME = "test_efficientnet"  # timm's own smallest


def write(path, **options):
    state = timm.create_model(NAME, **options).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return state


@pytest.mark.parametrize("classes", [0, 10, 1000])
def test_weights_are_loaded_whatever_their_classifier(tmp_path, classes):
    state = write(tmp_path / "w.safetensors", num_classes=classes)
    model = timm_from_file(NAME, str(tmp_path / "w.safetensors"))
    found = model.state_dict()
    assert found.keys() == {name for name in state if not name.startswith("classifier.")}
    assert all(torch.equal(value, state[name]) for name, value in found.items())
    assert model(torch.zeros(2, 3, 64, 64)).ndim == 2


def test_a_checkpoint_of_timm_is_read(tmp_path):
    state = timm.create_model(NAME).state_dict()
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    found = timm_from_file(NAME, str(tmp_path / "w.pt")).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.items())


def test_weights_that_do_not_fit_are_one_line(tmp_path):
    file = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match=r"^weights: no file [^\n]*w.safetensors, expected one [^\n]*$"):
        timm_from_file(NAME, str(file))
    file.write_bytes(b"no weights at all")
    with pytest.raises(InputError, match=r"^weights: cannot read [^\n]*$"):
        timm_from_file(NAME, str(file))
    write(file)
    with pytest.raises(InputError, match=r"^model_name: [^\n]*no_such_net[^\n]*, expected a model of timm$"):
        timm_from_file("no_such_net", str(file))
    with pytest.raises(InputError, match=r"^weights: [^\n]*, but only the (file|model) has [^\n]*$"):
        timm_from_file("test_resnet", str(file))


def test_weights_of_another_width_are_one_line(tmp_path):
    file = tmp_path / "w.safetensors"
    state = {name: value.contiguous() for name, value in timm.create_model(NAME).state_dict().items()}
    save_file({**state, "conv_stem.weight": state["conv_stem.weight"][:-1].contiguous()}, file)
    with pytest.raises(
        InputError, match=r"^weights: [^\n]*but conv_stem.weight is [^\n]* in the file, expected [^\n]*$"
    ):
        timm_from_file(NAME, str(file))
