"""Image files as pixels."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torchvision import io as decoders

from compat.arrays import format_of
from compat.errors import InputError

BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # of TIFF 6.0
WHITE_IS_ZERO, SIGNED = 0, 2  # of the latter two


def read_pixels(path: Path) -> np.ndarray:
    """The pixels (H, W, 3) uint8 of an image file: the first frame, transparency dropped, an EXIF orientation ignored.

    Gray values of more than 8 bits are scaled to 8; all else is as PIL converts it to RGB. torchvision decodes JPEG, in
    grays or colours, to PIL's pixels in less time; PIL looks at the size first, as it refuses decompression bombs.

    Raises:
        InputError: no image that can be read; floating-point, signed or 32-bit values, of unknown black and white.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            raise ValueError("no regular file")
        content = np.fromfile(path, np.uint8)
        with Image.open(io.BytesIO(content.data)) as image:
            if image.format == "PNG":
                _check_sums(content)
            pixels = _jpeg(content) if image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB") else None
            return _rgb(image) if pixels is None else pixels
    except Exception as error:  # each format and each kind of damage raises its own type
        unknown = isinstance(error, UnidentifiedImageError)  # whose message is of the bytes in memory
        reason = format_of(path) or "damaged, or of no known format" if unknown else error
        message = f"data: cannot read the image {path} ({reason}); expected a readable image file"
        raise InputError(" ".join(message.split())) from error


def printable(name: str) -> str:
    """A file's name as text that can be encoded: bytes that are not UTF-8 as escapes.

    Example:
        >>> printable(os.fsdecode(b"caf\\xe9.jpg"))
        'caf\\\\xe9.jpg'
    """
    return os.fsencode(name).decode(errors="backslashreplace")


def _check_sums(content: np.ndarray) -> None:
    """Raise for a PNG with a chunk that differs from its checksum: PIL decodes damaged ones to other pixels."""
    with Image.open(io.BytesIO(content.data)) as image:
        image.verify()


def _jpeg(content: np.ndarray) -> np.ndarray | None:
    """Decoded by torchvision; None where it is left to PIL, which says what is damaged."""
    try:
        pixels = decoders.decode_jpeg(torch.from_numpy(content))
    except (RuntimeError, AttributeError):  # damaged, or a later torchvision: 0.29 means to give its decoders up
        return None
    return pixels.expand(3, -1, -1).movedim(0, -1).numpy()


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return np.repeat(_eight_bits(image)[..., None], 3, axis=-1)
    if SIGNED in getattr(image, "tag_v2", {}).get(SAMPLE_FORMAT, ()):  # PIL takes these for unsigned
        raise ValueError("signed values, whose black and white are not known")
    if "transparency" in image.info:  # else PIL warns of the conversion
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Gray values (H, W) of more than 8 bits, scaled and rounded."""
    sixteen = image.mode.startswith("I;") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if not sixteen:
        raise ValueError(f"values of mode {image.mode}, whose black and white are not known")
    tags = getattr(image, "tag_v2", {})
    white = 2 ** int(tags.get(BITS_PER_SAMPLE, (16,))[0]) - 1
    gray = (np.asarray(image).astype(np.uint32) * 255 + white // 2) // white
    return (255 - gray if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else gray).astype(np.uint8)
