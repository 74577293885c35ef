"""Image files as pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from torchvision import io
from torchvision.datasets.folder import default_loader

from compat.errors import InputError

JPEG = (0xFF, 0xD8, 0xFF)


def read_pixels(path: Path) -> np.ndarray:
    """The pixels (H, W, 3) uint8 of an image file, as PIL converts it to RGB.

    torchvision decodes JPEG, in grays or colours, to the same pixels in half the time; PIL all else (torchvision's
    reader of PNG ends the process on some damaged files), and what torchvision refuses: it says what is readable.

    Raises:
        InputError: an image that cannot be read.
    """
    pixels = _by_torchvision(path)
    if pixels is not None:
        return pixels
    try:
        return np.array(default_loader(path))
    except Exception as error:  # each format and each kind of damage raises its own type
        raise InputError(f"data: cannot read the image {path} ({error}); expected a readable image file") from error


def _by_torchvision(path: Path) -> np.ndarray | None:
    try:
        content = io.read_file(os.fspath(path))
        if tuple(content[: len(JPEG)].tolist()) != JPEG:
            return None
        pixels = io.decode_jpeg(content)
    except (RuntimeError, AttributeError):  # damaged, or a later torchvision: 0.29 means to give its decoders up
        return None
    if len(pixels) not in (1, 3):  # inks, which PIL and torchvision convert differently
        return None
    return pixels.expand(3, -1, -1).movedim(0, -1).numpy()
