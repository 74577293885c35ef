"""CIFAR-100."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torchvision.datasets
from torchvision.datasets.utils import check_integrity
from torchvision.transforms import v2

from compat.data.base import RetrievalData
from compat.data.checks import check_counts, expanded, reading
from compat.data.files import printable, read_pixels
from compat.data.images import LabelledImages
from compat.data.listing import list_classes
from compat.data.transforms import NormalizedTensor
from compat.errors import InputError

SIDE = 32  # pixels


class CIFAR100(RetrievalData):
    """CIFAR-100: 50,000 training images; the 10,000 test images are queries and gallery, each query's own ignored.

    The protocol of FCT, BT-2, openBCT and FastFill. Classes are numbered as in the files (alphabetically), so the
    first half is 0 to 49; folders named by numbers, by these.

    Args:
        root: the folder that holds `cifar-100-python`, as torchvision lays it out; or a folder of PNG files,
            `train/<class>/<name>.png` and `test/<class>/<name>.png`, which are read into memory.
        image_size: side of the image that the model sees, in pixels; 32 is as it is (FCT resizes to 224).
        verify: check the files' checksums and the numbers of images; false takes what is there. The files are
            pickles: read without their checksums only what you trust.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing or damaged file, other numbers of images.
    """

    def __init__(self, root: str = "data", image_size: int = 32, verify: bool = True, **options: Any) -> None:
        super().__init__(**options)
        folder = expanded(root)
        how = "cifar-100-python/ with train, test and meta, or train/<class>/*.png and test/<class>/*.png"
        with reading(folder, how):
            if Path(folder, "train").is_dir() and not Path(folder, _Files.base_folder).is_dir():
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

    def _part(self, folder: Path, split: str, how: str) -> Part:
        """The images of `split/<class>/*.png`; those that cannot be read raise, or are left out."""
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
        return Part(np.stack(pixels) if pixels else np.empty((0, SIDE, SIDE, 3), np.uint8), labels, list(found))


class Part(NamedTuple):
    """Images (N, 32, 32, 3) uint8, the class index of each, the names of the classes; as torchvision's reader."""

    data: np.ndarray
    targets: list[int]
    classes: list[str]


def _unpacked(folder: Path, verify: bool, how: str) -> list[Any]:
    """The training and the test part as the archive has them."""
    for name, checksum in _Files.checksums():
        file = Path(folder, _Files.base_folder, name)
        file.stat()
        if verify and not check_integrity(file, checksum):
            raise InputError(f"data.root: {file} has another checksum than {checksum}, expected {how}")
    return [_Files(folder, train=part) for part in (True, False)]


class _Files(torchvision.datasets.CIFAR100):
    """torchvision's reader, with the checksums left to us: it does not say which file is wrong."""

    @classmethod
    def checksums(cls) -> list[tuple[str, str]]:
        original = torchvision.datasets.CIFAR100
        return [
            *map(tuple, original.train_list + original.test_list),
            (original.meta["filename"], original.meta["md5"]),
        ]

    meta: ClassVar[dict[str, Any]] = {**torchvision.datasets.CIFAR100.meta, "md5": None}

    def _check_integrity(self) -> bool:
        return True
