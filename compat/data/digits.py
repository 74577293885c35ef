"""scikit-learn's bundled digits: a benchmark without a download."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torchvision.transforms import v2

from compat.data.base import RetrievalData
from compat.data.images import LabelledImages
from compat.data.transforms import NormalizedTensor


class Digits(RetrievalData):
    """scikit-learn's bundled 8x8 digits, shown at 32x32: half for training, half as queries and gallery.

    The split is stratified by class and fixed.

    Args:
        options: see `RetrievalData`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        bunch = load_digits()
        pixels = (bunch.images * (255 / 16)).round().astype(np.uint8)
        train, gallery = train_test_split(np.arange(len(pixels)), test_size=0.5, stratify=bunch.target, random_state=0)
        shown = np.stack(
            [
                np.asarray(Image.fromarray(digit).convert("RGB").resize((32, 32), Resampling.BILINEAR))
                for digit in pixels
            ]
        )
        plain = NormalizedTensor([0.3], [0.35])
        shift = v2.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1))
        self.hold(
            LabelledImages(shown[train], bunch.target[train], plain),
            LabelledImages(shown[gallery], bunch.target[gallery], plain),
            augment=v2.Compose([shift, plain]),
        )
