"""Read arrays in .npy and .npz files whole, or refuse them in one line; never loads Python objects."""

from __future__ import annotations

import math
import os
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np

from compat.errors import InputError

STARTS = {  # first bytes of files often found under another name
    b"version https://git-lfs": "a pointer of Git LFS, not the file: git lfs pull",
    b"\x93NUMPY": "one array as numpy.save writes it, .npy",
    b"PK": "a zip archive, such as of numpy.savez, .npz",
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
    b"\x80": "a Python pickle, which is not loaded",
    b"\x1f\x8b": "packed by gzip",
    b"<svg": "a drawing in SVG",
    b"<?xml": "XML, such as a drawing in SVG",
    b"<": "a page of the web",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}


@contextmanager
def readable(field: str, path: str | Path, expected: str) -> Iterator[None]:
    """Turn any error of reading a file into one line.

    Args:
        field: the option or field naming the file.
        path: of the file.
        expected: the expected content.

    Raises:
        InputError: an unreadable or damaged file, or one of another format.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # readers raise anything for a damaged file
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        why = format_of(path) or " ".join(reason.split()) or type(error).__name__
        raise InputError(f"{field}: {path} ({why}), expected {expected}") from error


def format_of(path: str | Path) -> str:
    """Name the format of a misnamed file by its first bytes; empty for a right or unknown name."""
    try:
        with open(path, "rb") as file:
            start = file.read(32).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return ""
    found = next((what for head, what in STARTS.items() if start.startswith(head)), "") if start else "empty"
    suffix = Path(path).suffix.lower()
    own = {b"\x93NUMPY": ".npy", b"PK": ".npz", b"PAR1": ".parquet"}
    return "" if any(start.startswith(head) and suffix == name for head, name in own.items()) else found


def read_npy(field: str, path: str | Path, mapped: bool = False, expected: str = "an array in .npy") -> np.ndarray:
    """Read the array of a .npy file.

    Args:
        field: the option or field naming the file.
        path: of the file.
        mapped: map it into memory instead of reading it.
        expected: the expected content.

    Raises:
        InputError: no such file, another format, a file shorter or longer than its array.
    """
    with readable(field, path, expected), open(path, "rb") as file:
        size = _check_array(file, Path(path).stat().st_size)
        if mapped and size:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


class Archive(Mapping[str, np.ndarray]):
    """The arrays of a .npz file by name, each read on access and compared with its checksum.

    Args:
        field: the option or field naming the file.
        path: of the file.
        expected: the expected content.

    Raises:
        InputError: no such file, another format; on access, an array damaged or packed in an unknown way.
    """

    def __init__(self, field: str, path: str | Path, expected: str = "arrays in .npz") -> None:
        self.field, self.path = field, path
        with readable(field, path, expected):
            self.file = ZipFile(path)
            names = [info.filename.removesuffix(".npy") for info in self.file.infolist()]
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise ValueError(f"two arrays {twice[0]!r}")
            self.members = dict(zip(names, self.file.infolist(), strict=True))
            _check_count(path, len(self.file.infolist()))

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, name: str) -> np.ndarray:
        member = self.members[name]
        with readable(self.field, self.path, f"an array {name!r} of numbers or text in .npz"):
            with self.file.open(member.filename) as stream:
                _check_array(stream, member.file_size)
            with self.file.open(member.filename) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
                stream.read()  # to its end, where the checksum is compared
        return array


def _check_count(path: str | Path, found: int) -> None:
    """Compare the number of files in a zip archive's end record with the number found, which zipfile does not do."""
    with open(path, "rb") as file:
        file.seek(-22, os.SEEK_END)
        end = file.read()
    (count,) = struct.unpack("<H", end[10:12])
    if end.startswith(b"PK\5\6") and count not in (found, 0xFFFF):  # the latter stands for more
        raise ValueError(f"{found} of {count} arrays are found in it")


def _check_array(stream: IO[bytes], size: int) -> int:
    """Check the header of an array, and return the array's size in bytes.

    Args:
        stream: at the header.
        size: of header and array, in bytes.

    Raises:
        ValueError: not an array of numbers or text, or of another size.
    """
    if not size:
        raise ValueError("empty")
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, _, dtype = readers[np.lib.format.read_magic(stream)](stream)
    except (OSError, zlib.error, BadZipFile):
        raise
    except Exception as error:  # NumPy's own words advise to trust the file
        raise ValueError("damaged, or no .npy file") from error
    if dtype.hasobject:
        raise ValueError("Python objects, which are not loaded, instead of numbers")
    expected, found = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if found != expected or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{found} bytes after its header, not the {expected} of {dtype} {shape}")
    return expected


def warn_of_packed_bits(name: str, dtype: object) -> None:
    """Warn of 8-bit integers, compared as numbers: binary models often pack eight bits into one."""
    if str(dtype).rpartition(".")[2] in ("uint8", "int8"):
        unpack = "if they are packed bits, unpack them by numpy.unpackbits"
        warnings.warn(f"{name}: {dtype}, compared as numbers; {unpack}", stacklevel=3)
