"""Fetch a published archive into a folder: verify existing files, download the missing ones or ask for them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple, TypeVar

from torchvision.datasets.utils import download_url

from compat.data.archives import verify
from compat.errors import InputError
from compat.files import replace

T = TypeVar("T")


class Download(NamedTuple):
    """A published archive: its file name, its MD5, and the URL of the file or of the page with instructions."""

    name: str
    md5: str
    url: str


def read_or_fetch(fetch: Callable[[], None], read: Callable[[], T]) -> T:
    """Read by torchvision; fetch first if files are missing or have another checksum."""
    try:
        return read()
    except RuntimeError:
        fetch()
        return read()


def download(root: Path, archive: Download) -> Path:
    """Return the verified archive in `root`, downloaded by torchvision if missing.

    Raises:
        InputError: another MD5, no connection, nothing at the URL, no room.
    """
    path = root / archive.name
    if path.exists():
        return verify_download(root, archive)
    unfinished = path.with_name(f".{path.name}.part")
    print(f"Downloading {archive.url}")
    try:
        download_url(archive.url, root, unfinished.name, archive.md5)
    except (OSError, HTTPException, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{archive.url}: cannot be downloaded to {root} ({reason}); get {archive.name} by other means, put it into "
            f"{root} and run this again"
        ) from error
    os.replace(unfinished, path)
    return path


def verify_download(root: Path, archive: Download) -> Path:
    """Return the archive in `root`; `InputError` for another MD5."""
    verify(root / archive.name, archive.md5)
    return root / archive.name


def by_hand(root: Path, archives: list[Download], instructions: str) -> None:
    """Print how to get the archives unless all are in `root`; then an `InputError` names the missing ones."""
    if missing := [archive for archive in archives if not (root / archive.name).exists()]:
        print(instructions.format(root=root))
        names = ", ".join(archive.name for archive in missing)
        raise InputError(f"--root: no {names} in {root}, expected there; get it from {missing[0].url}")


def gunzip(packed: Path, unpacked: Path) -> None:
    """Unpack a verified .gz; a killed process leaves no partial file."""
    content = gzip.decompress(packed.read_bytes())
    replace(unpacked, lambda path: path.write_bytes(content))
