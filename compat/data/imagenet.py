"""ImageNet-1k (ILSVRC 2012)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torchvision.datasets import ImageFolder

from compat.data.base import RetrievalData
from compat.data.checks import check_counts, reading
from compat.data.images import LabelledImages
from compat.data.transforms import photographs
from compat.errors import InputError


class ImageNet(RetrievalData):
    """ImageNet-1k: 1,281,167 training images; the 50,000 validation images are queries and gallery.

    Each query's own image is ignored: the protocol of FCT, BT-2, openBCT and FastFill. Classes are numbered by WordNet
    id, the usual 0 to 999, so the first half is 0 to 499.

    Args:
        root: the folder of `train/<wnid>/*.JPEG` and `val/<wnid>/*.JPEG`, as torchvision's `ImageNet` unpacks it.
        image_size: side of the square that the model sees, in pixels; of validation images the centre, after a resize
            to 256/224 of it.
        min_crop: smallest share of the image's area that a training crop keeps.
        verify: check the numbers of images and classes; false takes what is there.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing folder, a class without images, classes that differ between train and val, other numbers.
    """

    def __init__(
        self,
        root: str = "data/imagenet",
        image_size: int = 224,
        min_crop: float = 0.08,
        verify: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        folder = Path(root).expanduser()
        augment, plain = photographs(image_size, min_crop, resize=round(image_size * 256 / 224))
        how = "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG"
        with reading(folder, how):
            train, val = (ImageFolder(Path(folder, split)) for split in ("train", "val"))
        if missing := sorted(set(train.classes) ^ set(val.classes)):
            raise InputError(
                f"data.root: class {missing[0]!r} is in one of {root}/train and {root}/val, expected {how}"
            )
        if verify:
            check_counts(
                folder,
                {
                    "classes": (len(train.classes), 1_000),
                    "training images": (len(train), 1_281_167),
                    "validation images": (len(val), 50_000),
                },
            )

        def images(part: ImageFolder) -> LabelledImages:
            files = [os.path.relpath(file, folder) for file, _ in part.samples]
            return LabelledImages(files, part.targets, plain, root=folder)

        self.hold(images(train), images(val), augment, class_names=train.classes)
