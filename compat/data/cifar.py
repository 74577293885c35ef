"""CIFAR-100."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torchvision.datasets import CIFAR100 as PUBLISHED
from torchvision.datasets.utils import check_integrity
from torchvision.transforms import v2

from compat.data.base import RetrievalData
from compat.data.checks import check_counts, expand_path, reading
from compat.data.files import printable, read_pixels
from compat.data.images import LabelledImages
from compat.data.listing import list_classes
from compat.data.transforms import NormalizedTensor
from compat.errors import InputError

SIDE = 32  # pixels
ARCHIVE = PUBLISHED.base_folder
FILES = [*PUBLISHED.train_list, *PUBLISHED.test_list, [PUBLISHED.meta["filename"], PUBLISHED.meta["md5"]]]
CALLED = {
    *(("numpy._core.multiarray", name) for name in ("_reconstruct", "scalar")),
    *(("numpy", name) for name in ("ndarray", "dtype")),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}  # by pickles of arrays


class CIFAR100(RetrievalData):
    """CIFAR-100: 50,000 training images; the 10,000 test images are queries and gallery, each query's own ignored.

    The protocol of FCT, BT-2, openBCT and FastFill. Classes are numbered as in the files (alphabetically), so the
    first half is 0 to 49; folders named by numbers, by these.

    Args:
        root: the folder holding `cifar-100-python`, as torchvision lays it out; or a folder of PNG files,
            `train/<class>/<name>.png` and `test/<class>/<name>.png`, which are read into memory.
        image_size: side of the model's input, in pixels; 32 is as it is (FCT resizes to 224).
        verify: check the files' checksums and the numbers of images; false takes the files as found. They are
            pickles; only arrays are read from them.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing or damaged file, other numbers of images.
    """

    def __init__(self, root: str = "data", image_size: int = 32, verify: bool = True, **options: Any) -> None:
        super().__init__(**options)
        folder = expand_path(root)
        how = "cifar-100-python/ with train, test and meta, or train/<class>/*.png and test/<class>/*.png"
        with reading(folder, how):
            if Path(folder, "train").is_dir() and not Path(folder, ARCHIVE).is_dir():
                train, test = (self._part(folder, split, how) for split in ("train", "test"))
                if missing := sorted(set(train.classes) ^ set(test.classes)):
                    raise InputError(f"data.root: class {missing[0]!r} is in one of train and test, expected {how}")
            else:
                train, test = _unpacked(folder, verify, how)
        if verify:
            check_counts(
                folder,
                {
                    "training images": (len(train.data), 50_000),
                    "test images": (len(test.data), 10_000),
                    "classes": (len(train.classes), 100),
                },
            )
        if image_size < 1:
            raise InputError(f"data.image_size: {image_size}, expected at least 1 pixel")
        to_tensor = NormalizedTensor([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762])
        resize = [v2.Resize(image_size, antialias=True)] if image_size != SIDE else []
        plain = v2.Compose([*resize, to_tensor]) if resize else to_tensor
        self.hold(
            LabelledImages(train.data, train.targets, plain),
            LabelledImages(test.data, test.targets, plain),
            augment=v2.Compose([v2.RandomCrop(SIDE, padding=4), v2.RandomHorizontalFlip(), *resize, to_tensor]),
            class_names=train.classes,
        )

    def _part(self, folder: Path, split: str, how: str) -> CifarSplit:
        """Return the images of `split/<class>/*.png`; unreadable ones raise, or are left out."""
        found = list_classes(folder, split, how)
        pixels, labels = [], []
        for label, files in enumerate(found.values()):
            for file in files:
                try:
                    image = read_pixels(folder / file)
                except InputError:
                    if self.on_error == "raise":
                        raise
                    self.skipped.append(printable(file))
                    continue
                if image.shape != (SIDE, SIDE, 3):
                    size = f"{image.shape[1]}x{image.shape[0]}"
                    raise InputError(f"data.root: {folder / file} has {size} pixels, expected {SIDE}x{SIDE}")
                pixels.append(image)
                labels.append(label)
        return CifarSplit(np.stack(pixels) if pixels else np.empty((0, SIDE, SIDE, 3), np.uint8), labels, list(found))


class CifarSplit(NamedTuple):
    """Images (N, 32, 32, 3) uint8, each one's class index, the names of the classes."""

    data: np.ndarray
    targets: list[int]
    classes: list[str]


def _unpacked(folder: Path, verify: bool, how: str) -> list[CifarSplit]:
    """Read the training and the test part from the archive's files."""
    for name, checksum in FILES:
        file = Path(folder, ARCHIVE, name)
        file.stat()
        if verify and not check_integrity(file, checksum):
            hint = "verify: false takes the files as found, with their rows in any order"
            raise InputError(f"data.root: {file} has another checksum than {checksum}, expected {how} ({hint})")
    classes = list(_content(Path(folder, ARCHIVE, "meta"))["fine_label_names"])
    return [_images(Path(folder, ARCHIVE, name), classes) for name in ("train", "test")]


def _images(file: Path, classes: list[str]) -> CifarSplit:
    """Reshape a file's rows, 32x32 pixels channel by channel, to (N, 32, 32, 3)."""
    content = _content(file)
    pixels, labels = np.asarray(content["data"]), np.asarray(content["fine_labels"])
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3 * SIDE * SIDE:
        found = f"images {pixels.dtype} of shape {pixels.shape}"
        raise InputError(f"data.root: {found} in {file}, expected uint8 (N, {3 * SIDE * SIDE})")
    if labels.dtype.kind not in "iu" or labels.shape != pixels.shape[:1]:
        found = f"labels {labels.dtype} of shape {labels.shape}"
        raise InputError(f"data.root: {found} in {file}, expected integers, one for each of {len(pixels)} images")
    if len(wrong := labels[(labels < 0) | (labels >= len(classes))]):
        raise InputError(f"data.root: label {wrong[0]} in {file}, expected 0 to {len(classes) - 1}")
    return CifarSplit(pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), labels.tolist(), classes)


def _content(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        return _Arrays(opened, encoding="latin1").load()


class _Arrays(pickle.Unpickler):
    """Unpickler limited to NumPy arrays and plain values; calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        core = module.replace("numpy.core", "numpy._core")
        if (core, name) not in CALLED:
            raise InputError(f"data.root: a pickle calling {module}.{name}, expected CIFAR-100's arrays")
        return super().find_class(module, name)
