"""Gray images small enough for memory: decoded and resized once, which makes small trainings fast."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from compat.errors import InputError


def resized(images: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Resize gray images (H, W) uint8 of any sizes to (N, size, size); images of this size stay unchanged.

    Raises:
        InputError: a size below 1.
    """
    if size < 1:
        raise InputError(f"data.image_size: {size}, expected at least 1 pixel")
    shown = [
        image
        if image.shape == (size, size)
        else np.asarray(Image.fromarray(image).resize((size, size), Resampling.BILINEAR))  # with antialiasing
        for image in images
    ]
    return np.stack(shown) if shown else np.empty((0, size, size), np.uint8)
