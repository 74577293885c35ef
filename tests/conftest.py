"""What the tests share: small images on disk, a tiny backbone, and one thread."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

torch.set_num_threads(1)


def write_images(root: Path, split: str, names: list[str], count: int, size: int = 16) -> None:
    """An image folder of coloured noise; each class has its own mean colour, hidden in more noise than colour."""
    random = np.random.default_rng(len(names) + count)
    for number, name in enumerate(names):
        folder = root / split / name
        folder.mkdir(parents=True)
        colour = random.integers(0, 80, 3)
        for index in range(count):
            pixels = colour + random.integers(0, 100, 3) + random.integers(0, 75, (size, size, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}_{index}.png")


@pytest.fixture
def image_root(tmp_path: Path) -> Path:
    """Twelve classes named by numbers, so that their numeric and their lexicographic order differ."""
    names = [str(number) for number in range(12)]
    write_images(tmp_path / "images", "train", names, 6)
    write_images(tmp_path / "images", "val", names, 3)
    return tmp_path / "images"


TINY = {
    "trainer": {"max_epochs": 2, "enable_progress_bar": False, "accelerator": "cpu"},
    "model": {"backbone": {"class_path": "tests.backbones.TinyConv"}, "embed_dim": 6},
}


@pytest.fixture
def config(tmp_path: Path, image_root: Path) -> Path:
    """A benchmark of a second, written to a file."""
    content = {
        "name": "tiny",
        "data": {
            "class_path": "compat.data.ImageFolder",
            "init_args": {"root": str(image_root), "image_size": 12, "batch_size": 24},
        },
        "old": {**TINY, "sees": {"classes": 0.5}},
        "new": {**TINY, "model": {**TINY["model"], "embed_dim": 7}},
        "heads": {"trainer": {**TINY["trainer"], "max_epochs": 3}, "batch_size": 16},
        "methods": {
            "independent": {"class_path": "compat.methods.Upgrade"},
            "rqt": {"class_path": "compat.methods.ReverseQuery", "init_args": {"hidden": 8}},
            "rqt_mcl_rho": {
                "class_path": "compat.methods.ReverseQuery",
                "init_args": {"hidden": 8, "mcl": "joint", "rho": True},
            },
        },
        "replay": {"orders": 2},
        "runs": str(tmp_path / "runs"),
        "results": str(tmp_path / "results"),
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
