"""CIFAR-100."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torchvision.datasets
from torchvision.datasets.utils import check_integrity
from torchvision.transforms import v2

from compat.data.base import RetrievalData
from compat.data.checks import check_counts, reading
from compat.data.images import LabelledImages
from compat.data.transforms import NormalizedTensor
from compat.errors import InputError


class CIFAR100(RetrievalData):
    """CIFAR-100: 50,000 training images; the 10,000 test images are queries and gallery, each query's own ignored.

    The protocol of FCT, BT-2, openBCT and FastFill. Classes are numbered as in the files (alphabetically), so the
    first half is 0 to 49.

    Args:
        root: the folder that holds `cifar-100-python`, as torchvision lays it out.
        image_size: side of the image that the model sees, in pixels; 32 is as it is (FCT resizes to 224).
        verify: check the files' checksums and the numbers of images; false takes what is there. The files are
            pickles: read without their checksums only what you trust.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing or damaged file, other numbers of images.
    """

    def __init__(self, root: str = "data", image_size: int = 32, verify: bool = True, **options: Any) -> None:
        super().__init__(**options)
        folder = Path(root).expanduser()
        how = "cifar-100-python/ with train, test and meta"
        with reading(folder, how):
            for name, checksum in _Files.checksums():
                file = Path(folder, _Files.base_folder, name)
                file.stat()
                if verify and not check_integrity(file, checksum):
                    raise InputError(f"data.root: {file} has another checksum than {checksum}, expected {how}")
            train, test = (_Files(folder, train=part) for part in (True, False))
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
        resize = [v2.Resize(image_size, antialias=True)] if image_size != 32 else []
        plain = v2.Compose([*resize, to_tensor]) if resize else to_tensor
        self.hold(
            LabelledImages(train.data, train.targets, plain),
            LabelledImages(test.data, test.targets, plain),
            augment=v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *resize, to_tensor]),
            class_names=train.classes,
        )


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
