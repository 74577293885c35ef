"""Fashion-MNIST."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torchvision.datasets
from torchvision.transforms import v2

from compat.data.base import RetrievalData
from compat.data.checks import check_counts, expand_path, reading
from compat.data.grays import resized
from compat.data.images import LabelledImages
from compat.data.transforms import NormalizedTensor
from compat.errors import InputError

# MD5 of the unpacked files, independent of their .gz (torchvision lists that of the authors' .gz).
FILES = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
NAMES = torchvision.datasets.FashionMNIST.classes
HEADER = b"\0\0\x08"  # of an IDX file of bytes; the number of dimensions follows


class FashionMNIST(RetrievalData):
    """Fashion-MNIST: 60,000 training images; the 10,000 test images are queries and gallery, each query's own ignored.

    Classes are numbered as by its authors (Xiao et al., arXiv 1708.07747), so the first half is T-shirt/top, trouser,
    pullover, dress and coat. Classes and layout are torchvision's; its reader, unlike this one, takes unpacked files
    only.

    Args:
        root: the folder holding `FashionMNIST/raw`, as torchvision lays it out, or the folder of the files
            themselves, as Debian's package dataset-fashion-mnist installs them; each file unpacked or .gz.
        image_size: side of the model's input, in pixels; 28 is as it is.
        train_per_class: only the first so many training images of each class, for cheap trainings; the
            authors have shuffled them. Default all 6,000.
        verify: check the files' checksums and the numbers of images; false takes the files as found.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing or damaged file, other numbers of images, fewer of a class than asked for.
    """

    def __init__(
        self,
        root: str = "data",
        image_size: int = 28,
        train_per_class: int | None = None,
        verify: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        folder = expand_path(root)
        how = f"{', '.join(FILES)} (or .gz)"
        with reading(folder, how):
            pixels, labels = _split(folder, "train", verify, how)
            test_pixels, test_labels = _split(folder, "t10k", verify, how)
        if verify:
            check_counts(
                folder,
                {
                    "training images": (len(pixels), 60_000),
                    "test images": (len(test_pixels), 10_000),
                    "classes": (len(np.unique(labels)), len(NAMES)),
                },
            )
        if train_per_class is not None:
            rows = _first(labels, train_per_class)
            pixels, labels = pixels[rows], labels[rows]
        plain = NormalizedTensor([0.286], [0.353])
        crop = v2.RandomCrop(image_size, padding=max(1, image_size // 14))
        self.hold(
            LabelledImages(resized(pixels, image_size), labels, plain),
            LabelledImages(resized(test_pixels, image_size), test_labels, plain),
            augment=v2.Compose([crop, v2.RandomHorizontalFlip(), plain]),
            class_names=NAMES[: int(labels.max()) + 1],
        )


def _split(folder: Path, split: str, verify: bool, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W) uint8 and labels (N,) int64."""
    images, labels = (_read(folder, name, verify, how) for name in FILES if name.startswith(split))
    if images.ndim != 3 or 0 in images.shape or labels.shape != images.shape[:1]:
        found = f"images of shape {images.shape} and labels of shape {labels.shape}"
        raise InputError(f"data.root: {found} in {folder} ({split}), expected (N, 28, 28) and (N,)")
    if labels.max() >= len(NAMES):
        raise InputError(f"data.root: label {labels.max()} in {folder} ({split}), expected 0 to {len(NAMES) - 1}")
    return images, labels.astype(np.int64)


def _read(folder: Path, name: str, verify: bool, how: str) -> np.ndarray:
    """Read an IDX file's bytes, in the shape given by its header."""
    places = [folder / "FashionMNIST" / "raw", folder]
    files = [place / f"{name}{ending}" for place in places for ending in ("", ".gz")]
    file = next((file for file in files if file.exists()), files[0])
    content = file.read_bytes()
    if file.suffix == ".gz":
        content = gzip.decompress(content)
    if verify and hashlib.md5(content, usedforsecurity=False).hexdigest() != FILES[name]:
        raise InputError(f"data.root: {file} has another checksum than {FILES[name]} (unpacked), expected {how}")
    if content[:3] != HEADER:
        raise InputError(f"data.root: {file} starts with {content[:3]!r}, expected an IDX file of bytes ({HEADER!r})")
    shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _first(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the ascending rows of the first `count` images of each class."""
    of_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    fewest = min(len(rows) for rows in of_class)
    if not 1 <= count <= fewest:
        raise InputError(f"data.train_per_class: {count}, expected 1 to {fewest:,}, the images of the smallest class")
    return np.sort(np.concatenate([rows[:count] for rows in of_class]))
