"""Any labelled images on disk, a folder a class."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torchvision.datasets.folder import IMG_EXTENSIONS

from compat.data.base import RetrievalData
from compat.data.checks import reading
from compat.data.images import LabelledImages
from compat.data.transforms import photographs
from compat.errors import InputError


class ImageFolder(RetrievalData):
    """Any labelled images on disk: `root/train/<class>/*` and `root/val/<class>/*`.

    Queries and gallery are the validation images, each query's own image ignored. Classes are numbered
    by name, by number where all names are numbers (so that "first" classes means 0, 1, 2, ..., not
    0, 1, 10, ...). Classes of `val` that `train` lacks come after those of `train`.

    Args:
        root: the folder.
        image_size: side of the square image that the model sees, in pixels.
        min_crop: smallest share of the image's area that a training crop keeps.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing folder, another layout, a training class with a single image.
    """

    def __init__(self, root: str, image_size: int = 224, min_crop: float = 0.25, **options: Any) -> None:
        super().__init__(**options)
        augment, plain = photographs(image_size, min_crop, resize=image_size)
        with reading(Path(root), f"{root}/train/<class>/* and {root}/val/<class>/*"):
            train, val = _list_images(Path(root), "train"), _list_images(Path(root), "val")
        for name, files in train.items():
            if len(files) < 2:
                raise InputError(
                    f"data.root: class {name!r} has a single image ({Path(root, files[0])}), expected at least 2 "
                    "images in each training class"
                )
        names = _by_number(train)
        everywhere = names + _by_number(val.keys() - train.keys())

        def images(files: dict[str, list[str]]) -> LabelledImages:
            items = [(file, label) for label, name in enumerate(everywhere) for file in files.get(name, [])]
            return LabelledImages([file for file, _ in items], [label for _, label in items], plain, None, Path(root))

        self.hold(images(train), images(val), augment, class_names=names)


def _list_images(root: Path, split: str) -> dict[str, list[str]]:
    """Class name -> sorted image paths relative to `root`; says the expected layout where it is another."""
    layout = f"expected {root}/train/<class>/* and {root}/val/<class>/* with images ({', '.join(IMG_EXTENSIONS)})"
    if not (root / split).is_dir():
        raise InputError(f"data.root: no folder {root / split}; {layout}")
    found: dict[str, list[str]] = {}
    for name in sorted(path.name for path in (root / split).iterdir() if path.is_dir()):
        found[name] = [f"{split}/{name}/{file}" for file in _images_below(root / split / name)]
        if not found[name]:
            raise InputError(f"data.root: no image in {root / split / name}; {layout}")
    if not found:
        raise InputError(f"data.root: no class folder in {root / split}; {layout}")
    return found


def _images_below(folder: Path) -> list[str]:
    """Paths of the images relative to a folder, those of its folders too, sorted folder by folder."""

    def fail(error: OSError) -> None:
        raise error

    found: list[str] = []
    for place, _, names in os.walk(folder, onerror=fail):
        images = [name for name in names if os.path.splitext(name)[1].lower() in IMG_EXTENSIONS]
        below = Path(place).relative_to(folder)
        found += images if place == str(folder) else [(below / name).as_posix() for name in images]
    return sorted(found, key=lambda path: path.split("/"))


def _by_number(names: Iterable[str]) -> list[str]:
    numeric = all(name.isdecimal() for name in names)
    return sorted(names, key=int if numeric else None)
