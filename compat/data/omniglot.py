"""Omniglot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torchvision.datasets
from torchvision.transforms import v2

from compat.data.base import RetrievalData
from compat.data.checks import check_counts, expand_path, reading
from compat.data.files import printable, read_pixels
from compat.data.grays import resized
from compat.data.images import LabelledImages
from compat.data.listing import ending, files_below, warn_of_left_out
from compat.data.transforms import NormalizedTensor
from compat.errors import InputError

NAME = re.compile(r"(\d{4})_(\d\d)\.png", re.IGNORECASE)
LAYOUT = "omniglot-py/images_background/<alphabet>/<character>/0001_01.png"
TRAIN = 14  # of 20 drawings of a character


class Omniglot(RetrievalData):
    """Omniglot: 964 characters, each drawn by 20 people; 14 drawings to train on, 6 as queries and gallery.

    The authors' tasks (Lake et al., Science 2015) are few-shot, with unseen characters; ours are many
    classes with few positives. Each character is a class; its drawings 1 to 14 are trained on, 15 to 20 are queries and
    gallery, each query's own ignored: 5 of the other 5,783 are relevant. Classes have the order of the numbers in the
    files' names, by which alphabets are contiguous, so the first half knows other alphabets than the second. (So
    torchvision's reader is not used: it numbers characters in whatever order the file system lists their folders.)

    Args:
        root: the folder holding `omniglot-py/images_background/<alphabet>/<character>/0001_01.png`, as
            torchvision lays it out; or an image folder, `train/<character>` and `val/<character>` with such names.
        image_size: side of the model's input, in pixels (105 on disk). Ink is white there, paper black.
        evaluation: the 659 characters of `images_evaluation` too, after the 964; of all 1,623, `sees.classes: 0.594`
            are the background set.
        verify: check the numbers of images and characters; false takes the files as found.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing folder, a file name that is not Omniglot's, other numbers.
    """

    def __init__(
        self, root: str = "data", image_size: int = 32, evaluation: bool = False, verify: bool = True, **options: Any
    ) -> None:
        super().__init__(**options)
        folder = expand_path(root)
        how = LAYOUT
        with reading(folder, how):
            drawings = sorted(_drawings(folder, evaluation, how))
        train, gallery = ([d for d in drawings if d.seen is seen] for seen in (True, False))
        characters = sorted({d.character for d in drawings})
        if verify:
            count = 1_623 if evaluation else 964
            check_counts(
                folder,
                {
                    "characters": (len(characters), count),
                    "training images": (len(train), count * TRAIN),
                    "gallery images": (len(gallery), count * (20 - TRAIN)),
                },
            )
        numbers = {character: number for number, character in enumerate(characters)}
        plain = NormalizedTensor([0.08], [0.22])

        def images(found: list[Drawing]) -> LabelledImages:
            pixels = {d: ink for d in found if (ink := self._ink(d)) is not None}
            return LabelledImages(resized(pixels.values(), image_size), [numbers[d.character] for d in pixels], plain)

        move = v2.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.85, 1.15), shear=8)
        self.hold(
            images(train),
            images(gallery),
            augment=v2.Compose([move, plain]),
            class_names=[name for _, name in sorted({d.character: d.name for d in drawings}.items())],
        )

    def _ink(self, drawing: Drawing) -> np.ndarray | None:
        """Read a drawing as white on black, (H, W) uint8; None for an unreadable one to leave out."""
        try:
            return 255 - read_pixels(drawing.file)[..., 0]
        except InputError:
            if self.on_error == "raise":
                raise
            self.skipped.append(printable(str(drawing.file)))
            return None


class Drawing(NamedTuple):
    """The parts of a file's path: the numbers of the character and of its drawing, `alphabet/character`."""

    character: int
    number: int
    name: str
    file: Path

    @property
    def seen(self) -> bool:
        """Whether the drawing is for training."""
        return self.number <= TRAIN


def _drawings(folder: Path, evaluation: bool, how: str) -> Iterator[Drawing]:
    own = folder / torchvision.datasets.Omniglot.folder
    places = [own / "images_background", *([own / "images_evaluation"] if evaluation else [])]
    if (folder / "train").is_dir() and not own.is_dir() and not evaluation:
        places = [folder / "train", folder / "val"]
    for place in places:
        files = [place.joinpath(*parts) for parts in files_below(place)] if place.is_dir() else []
        paths = [path for path in files if ending(path.name) == ".png"]
        if not paths:
            raise InputError(f"data.root: no image in {place}, expected {how}")
        others = Counter(ending(path.name) for path in files)
        del others[".png"]
        warn_of_left_out(place, others, ".png files")
        for path in paths:
            if not (match := NAME.fullmatch(path.name)):
                raise InputError(f"data.root: {path} is not named as Omniglot's images, expected 0001_01.png")
            yield Drawing(int(match[1]), int(match[2]), path.parent.relative_to(place).as_posix(), path)
