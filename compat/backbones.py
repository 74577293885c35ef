"""Backbones whose weights come from a file, for machines that cannot download them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from compat.errors import InputError
from compat.models import read_checkpoint


def timm_from_file(model_name: str, weights: str) -> nn.Module:
    """Build a timm model with the weights of a file, without its classifier.

    `timm.create_model` with `pretrained: true` downloads the same weights where a network is at hand. The file's
    classifier is left out, whatever its number of classes.

    Args:
        model_name: of any model in timm, such as tf_efficientnet_lite0.
        weights: .safetensors, .ckpt or .pt file of its state dict, under timm's names.

    Raises:
        InputError: no such model, a missing or unreadable file, weights of another model or of another width.
    """
    import timm

    if not Path(weights).is_file():
        raise InputError(f"weights: no file {weights}, expected one (`python -m benchmarks.weights` makes some)")
    try:
        model: Any = timm.create_model(model_name, num_classes=0)
    except RuntimeError as error:
        raise InputError(f"model_name: {' '.join(str(error).split())}, expected a model of timm") from error
    try:
        state = read_checkpoint(weights)
    except InputError as error:
        raise InputError(str(error).replace("checkpoint:", "weights:", 1)) from error
    heads = model.pretrained_cfg.get("classifier") or ()  # its name, or several
    heads = tuple(f"{name}." for name in ([heads] if isinstance(heads, str) else heads))
    state = {name: value for name, value in state.items() if not name.startswith(heads)}
    expected = model.state_dict()
    found = f"{weights} with {model_name}"
    if names := sorted(state.keys() ^ expected.keys()):
        where = "the file" if names[0] in state else "the model"
        raise InputError(f"weights: {found}, but only {where} has {names[0]}, expected the weights of this model")
    for name, value in expected.items():
        if state[name].shape != value.shape:
            shapes = f"{name} is {tuple(state[name].shape)} in the file"
            raise InputError(f"weights: {found}, but {shapes}, expected {tuple(value.shape)}")
    model.load_state_dict(state)
    return model
