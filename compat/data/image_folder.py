"""Any labelled images on disk, a folder a class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2

from compat.data.base import LabelledImages, RetrievalData, normalized_tensor
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
        if image_size < 1:
            raise InputError(f"data.image_size: {image_size}, expected at least 1 pixel")
        if not 0 < min_crop <= 1:
            raise InputError(f"data.min_crop: {min_crop}, expected a share in (0, 1]")
        train, val = _list_images(Path(root), "train"), _list_images(Path(root), "val")
        for name, files in train.items():
            if len(files) < 2:
                raise InputError(
                    f"data.root: class {name!r} has a single image ({Path(root, files[0])}), expected at least 2 "
                    "images in each training class"
                )
        names = _by_number(train) + _by_number(val.keys() - train.keys())
        to_tensor = normalized_tensor([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        crop = v2.RandomResizedCrop(image_size, scale=(min_crop, 1.0), antialias=True)
        plain = v2.Compose([v2.Resize(image_size, antialias=True), v2.CenterCrop(image_size), to_tensor])

        def images(files: dict[str, list[str]]) -> LabelledImages:
            items = [(file, label) for label, name in enumerate(names) for file in files.get(name, [])]
            return LabelledImages([file for file, _ in items], [label for _, label in items], plain, None, Path(root))

        self.hold(images(train), images(val), v2.Compose([crop, v2.RandomHorizontalFlip(), to_tensor]), None, names)


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
