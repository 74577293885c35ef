"""Images as small data URIs, so that a report is one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from compat.data.files import printable, read_pixels
from compat.errors import InputError

EDGE = 72  # pixels of the longer side


class Thumbnail(NamedTuple):
    """An image in a page; `uri` is empty where the file could not be read."""

    name: str
    uri: str


def thumbnail(path: Path) -> Thumbnail:
    """Read and shrink an image; one that is missing or no image has its name alone."""
    name = printable(path.name)
    try:
        small = Image.fromarray(read_pixels(path))
    except InputError:
        return Thumbnail(name, "")
    small.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return Thumbnail(name, f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}")


def absent(paths: Sequence[Path]) -> list[str]:
    """A warning of files that are not there, if there are any."""
    names = [printable(path.name) for path in paths if not path.is_file()]
    found = f"{len(names)} of {len(paths)} images are not there, the first {names[0] if names else ''}; "
    return [f"{found}what is said of them is said without a picture."] if names else []
