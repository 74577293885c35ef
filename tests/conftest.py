"""What the tests share: small images on disk, a tiny backbone, and one thread."""

from pathlib import Path

import numpy as np
import pytest
import torch
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
