"""Places365-Standard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torchvision.datasets
from torchvision.datasets.utils import check_integrity

from compat.data.base import RetrievalData
from compat.data.checks import check_counts, expand_path, reading
from compat.data.images import LabelledImages
from compat.data.transforms import photographs
from compat.errors import InputError


class Places365(RetrievalData):
    """Places365-Standard, 256x256: 1,803,460 training images; the 36,500 validation images are queries and gallery.

    Each query's own image is ignored (openBCT's protocol). Classes are numbered as in `categories_places365.txt`, so
    the first half (of 365) is 0 to 181.

    Args:
        root: the folder of the file lists, `data_256_standard` and `val_256`, as torchvision lays them out.
        image_size: side of the model's square input, in pixels; of validation images the centre, after a resize
            to 256/224 of it.
        min_crop: smallest share of the image's area in a training crop.
        verify: check the lists' checksums and the numbers of images; false takes the files as found.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing list or folder, a wrong checksum, a class without images, other numbers.
    """

    def __init__(
        self,
        root: str = "data/places365",
        image_size: int = 224,
        min_crop: float = 0.08,
        verify: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        folder = expand_path(root)
        augment, plain = photographs(image_size, min_crop, resize=round(image_size * 256 / 224))
        how = "the file lists, data_256_standard/ and val_256/"
        with reading(folder, how):
            if verify:
                for name, checksum in _Lists.checksums():
                    Path(folder, name).stat()
                    if not check_integrity(Path(folder, name), checksum):
                        raise InputError(
                            f"data.root: {Path(folder, name)} has another checksum than {checksum}, expected {how}"
                        )
            train, val = (_Lists(folder, split, small=True) for split in ("train-standard", "val"))
            for lists in (train, val):
                Path(lists.images_dir).stat()
        if verify:
            check_counts(
                folder,
                {
                    "classes": (len(train.classes), 365),
                    "training images": (len(train), 1_803_460),
                    "validation images": (len(val), 36_500),
                },
            )

        def images(lists: _Lists) -> LabelledImages:
            files = [os.path.relpath(file, folder) for file, _ in lists.imgs]
            return LabelledImages(files, lists.targets, plain, root=folder)

        names = sorted(train.class_to_idx, key=train.class_to_idx.__getitem__)
        self.hold(images(train), images(val), augment, class_names=names)


class _Lists(torchvision.datasets.Places365):
    """torchvision's reader of the lists without its checksums: fixtures and parts have others."""

    @classmethod
    def checksums(cls) -> list[tuple[str, str]]:
        lists = cls._FILE_LIST_META
        return [cls._CATEGORIES_META, lists["train-standard"], lists["val"]]

    def _check_integrity(self, file: str, md5: str, download: bool) -> bool:
        return True
