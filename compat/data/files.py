"""Read image files as pixels."""

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
    """Read an image file's pixels (H, W, 3) uint8: the first frame, transparency dropped, an EXIF orientation ignored.

    Gray values of more than 8 bits are scaled to 8; PIL converts everything else to RGB. torchvision decodes JPEG, gray
    or colour, to the same pixels faster; PIL looks at the size first, as it refuses decompression bombs.

    Raises:
        InputError: an unreadable image; floating-point, signed or 32-bit values, whose black and white are unknown.
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
    """Make a file's name encodable text: bytes outside UTF-8 become escapes.

    Example:
        >>> printable(os.fsdecode(b"caf\\xe9.jpg"))
        'caf\\\\xe9.jpg'
    """
    return os.fsencode(name).decode(errors="backslashreplace")


def _check_sums(content: np.ndarray) -> None:
    """Refuse a PNG with a wrong checksum in a chunk: PIL decodes damaged ones to other pixels."""
    with Image.open(io.BytesIO(content.data)) as image:
        image.verify()


def _jpeg(content: np.ndarray) -> np.ndarray | None:
    """Decode a JPEG by torchvision; None leaves it to PIL, whose error names the damage."""
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
    """Scale and round gray values (H, W) of more than 8 bits."""
    sixteen = image.mode.startswith("I;") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if not sixteen:
        raise ValueError(f"values of mode {image.mode}, whose black and white are not known")
    tags = getattr(image, "tag_v2", {})
    white = 2 ** int(tags.get(BITS_PER_SAMPLE, (16,))[0]) - 1
    gray = (np.asarray(image).astype(np.uint32) * 255 + white // 2) // white
    return (255 - gray if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else gray).astype(np.uint8)
