"""ImageNet-1k (ILSVRC 2012)."""

from __future__ import annotations

from typing import Any

from compat.data.base import RetrievalData
from compat.data.checks import check_counts, expand_path, reading
from compat.data.images import LabelledImages
from compat.data.listing import list_classes
from compat.data.transforms import photographs
from compat.errors import InputError


class ImageNet(RetrievalData):
    """ImageNet-1k: 1,281,167 training images; the 50,000 validation images are queries and gallery.

    Each query's own image is ignored: the protocol of FCT, BT-2, openBCT and FastFill. Classes are numbered by WordNet
    id, the usual 0 to 999, so the first half is 0 to 499.

    Args:
        root: the folder of `train/<wnid>/*.JPEG` and `val/<wnid>/*.JPEG`, as torchvision's `ImageNet` unpacks it.
        image_size: side of the model's square input, in pixels; of validation images the centre, after a resize
            to 256/224 of it.
        min_crop: smallest share of the image's area in a training crop.
        verify: check the numbers of images and classes; false takes the files as found.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing folder, a class without images, different classes in train and val, other numbers.
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
        folder = expand_path(root)
        augment, plain = photographs(image_size, min_crop, resize=round(image_size * 256 / 224))
        how = "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG"
        with reading(folder, how):
            train, val = (list_classes(folder, split, how) for split in ("train", "val"))
        if missing := sorted(train.keys() ^ val.keys()):
            raise InputError(
                f"data.root: class {missing[0]!r} is in one of {root}/train and {root}/val, expected {how}"
            )
        if verify:
            check_counts(
                folder,
                {
                    "classes": (len(train), 1_000),
                    "training images": (sum(map(len, train.values())), 1_281_167),
                    "validation images": (sum(map(len, val.values())), 50_000),
                },
            )

        def images(part: dict[str, list[str]]) -> LabelledImages:
            items = [(file, label) for label, files in enumerate(part.values()) for file in files]
            return LabelledImages([file for file, _ in items], [label for _, label in items], plain, root=folder)

        self.hold(images(train), images(val), augment, class_names=list(train))
