"""Any labelled images on disk, a folder a class."""

from __future__ import annotations

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
    for folder in sorted(path for path in (root / split).iterdir() if path.is_dir()):
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
        if not files:
            raise InputError(f"data.root: no image in {folder}; {layout}")
        found[folder.name] = [path.relative_to(root).as_posix() for path in files]
    if not found:
        raise InputError(f"data.root: no class folder in {root / split}; {layout}")
    return found


def _by_number(names: Iterable[str]) -> list[str]:
    numeric = all(name.isdecimal() for name in names)
    return sorted(names, key=int if numeric else None)
