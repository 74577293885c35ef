"""Market-1501."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from torchvision.transforms import v2

from compat.data.base import RetrievalData
from compat.data.checks import check_counts, expand_path, reading
from compat.data.images import LabelledImages
from compat.data.listing import ending, hidden, warn_of_left_out
from compat.data.transforms import IMAGENET_MEAN, IMAGENET_STD, NormalizedTensor
from compat.errors import InputError

NAME = re.compile(r"(-1|\d{4})_c([1-6])s\d+_\d+_\d+(\.jpg){1,2}", re.IGNORECASE)  # twice in 24 of the archive's files


class Market1501(RetrievalData):
    """Market-1501: 751 identities to train on, 3,368 queries of 750 others, 15,913 gallery images.

    The protocol of its authors: of `bounding_box_test` the images of identity -1 (junk) are dropped, those of identity
    0 (distractors) stay as never relevant items, and items of a query's identity taken by the
    query's camera are ignored for it. Completion ratios count the remaining 15,913 images. Training identities
    are numbered in ascending order, so the first half are the lowest ids (LCE trains its old model on half of them).
    mAP is non-interpolated as everywhere here; the authors' Matlab code computes a trapezoidal mAP, a little lower.
    Training images are padded by 10 pixels at a height of 256, in proportion at others, and cropped (arXiv 1903.07071).

    Args:
        root: the folder holding `Market-1501-v15.09.15`.
        height: of the model's input, in pixels.
        width: likewise.
        erase: probability of erasing a rectangle of a training image.
        verify: check the numbers of images and identities except junk, which mirrors drop; false takes the files as
            found.
        options: see `RetrievalData`.

    Raises:
        InputError: a missing folder, a file name that is not Market-1501's, other numbers.
    """

    def __init__(
        self,
        root: str = "data",
        height: int = 256,
        width: int = 128,
        erase: float = 0.5,
        verify: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if min(height, width) < 1:
            raise InputError(f"data.height, data.width: {height}x{width}, expected at least 1 pixel")
        if not 0 <= erase <= 1:
            raise InputError(f"data.erase: {erase}, expected a probability in [0, 1]")
        folder = expand_path(root) / "Market-1501-v15.09.15"
        how = "bounding_box_train, bounding_box_test and query"
        with reading(folder, how):
            train, test, query = (_shots(folder, part) for part in ("bounding_box_train", "bounding_box_test", "query"))
        gallery = [shot for shot in test if shot.identity != -1]
        people = sorted({shot.identity for shot in train})
        if verify:
            check_counts(
                folder,
                {
                    "training images": (len(train), 12_936),
                    "training identities": (len(people), 751),
                    "queries": (len(query), 3_368),
                    "images in bounding_box_test without identity -1": (len(gallery), 15_913),
                },
            )
        resize, to_tensor = v2.Resize((height, width), antialias=True), NormalizedTensor(IMAGENET_MEAN, IMAGENET_STD)
        crop = [v2.RandomHorizontalFlip(), v2.Pad(round(10 * height / 256)), v2.RandomCrop((height, width))]
        plain = v2.Compose([resize, to_tensor])

        def images(shots: list[Shot], labels: list[int]) -> LabelledImages:
            seen_together = [10 * shot.identity + shot.camera for shot in shots]
            return LabelledImages([shot.file for shot in shots], labels, plain, seen_together, folder)

        numbers = {identity: number for number, identity in enumerate(people)}
        self.hold(
            images(train, [numbers[shot.identity] for shot in train]),
            images(gallery, [shot.identity for shot in gallery]),
            augment=v2.Compose([resize, *crop, to_tensor, v2.RandomErasing(erase)]),
            query=images(query, [shot.identity for shot in query]),
            class_names=[str(identity) for identity in people],
        )


class Shot(NamedTuple):
    """The parts of a file's name: path below the root, person (-1 junk, 0 distractor), camera."""

    file: str
    identity: int
    camera: int


def _shots(folder: Path, part: str) -> list[Shot]:
    shots: list[Shot] = []
    others: Counter[str] = Counter()
    for path in sorted(Path(folder, part).iterdir()):
        if hidden(path.name):  # the archive has a Thumbs.db in each folder
            continue
        if ending(path.name) != ".jpg":
            others[ending(path.name)] += 1
            continue
        if not (match := NAME.fullmatch(path.name)):
            raise InputError(
                f"data.root: {path} is not named as Market-1501's images, expected 0002_c1s1_000451_03.jpg"
            )
        shots.append(Shot(f"{part}/{path.name}", int(match[1]), int(match[2])))
    if not shots:
        raise InputError(f"data.root: no image in {folder / part}, expected .jpg files; unpack the archive again")
    warn_of_left_out(folder / part, others, ".jpg files")
    return shots
