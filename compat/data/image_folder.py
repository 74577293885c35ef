"""Labelled images on disk, one folder per class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compat.data.base import RetrievalData
from compat.data.checks import expand_path, reading
from compat.data.images import LabelledImages
from compat.data.listing import by_number, list_classes, warn_of_alike
from compat.data.transforms import photographs
from compat.errors import InputError


class ImageFolder(RetrievalData):
    """Labelled images on disk: `root/train/<class>/*` and `root/val/<class>/*`, or `test` where there is no `val`.

    Queries and gallery are the validation images, each query's own image ignored. Classes are numbered
    by name, or by number where all names are numbers (so "first" classes are 0, 1, 2, ..., not
    0, 1, 10, ...). Classes only in `val` come after those of `train`. Hidden files and folders
    (`.ipynb_checkpoints`, `@eaDir`, `Thumbs.db`) are ignored; other files without an image's ending are left
    out with a warning.

    Args:
        root: the folder.
        image_size: side of the model's square input, in pixels.
        min_crop: smallest share of the image's area in a training crop.
        nested: a class is any folder with images, named by its path, as Places' `apartment_building/outdoor`; by
            default everything below a folder of `train` or `val` is one class.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing folder, another layout, a training class with a single image.
    """

    def __init__(
        self, root: str, image_size: int = 224, min_crop: float = 0.25, nested: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        augment, plain = photographs(image_size, min_crop, resize=image_size)
        layout = f"{root}/train/<class>/* and {root}/val/<class>/* (or test/<class>/*)"
        folder = expand_path(root)
        with reading(folder, layout):
            split = "val" if Path(folder, "val").is_dir() or not Path(folder, "test").is_dir() else "test"
            train, val = (list_classes(folder, part, layout, nested) for part in ("train", split))
        for name, files in train.items():
            if len(files) < 2:
                raise InputError(
                    f"data.root: class {name!r} has a single image ({Path(folder, files[0])}), expected at least 2 "
                    "images in each training class"
                )
        names = list(train)
        everywhere = names + by_number(val.keys() - train.keys())
        warn_of_alike(everywhere)

        def images(files: dict[str, list[str]]) -> LabelledImages:
            items = [(file, label) for label, name in enumerate(everywhere) for file in files.get(name, [])]
            return LabelledImages([file for file, _ in items], [label for _, label in items], plain, None, folder)

        self.hold(images(train), images(val), augment, class_names=names)
