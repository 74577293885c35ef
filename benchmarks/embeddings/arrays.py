"""Arrays in .npy and .safetensors files. Imports torch only to read tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compat.arrays import read_npy, readable
from compat.errors import InputError

EXPECTED = "an array in .npy or .safetensors"


def split(given: str) -> tuple[str, str]:
    """Split file.safetensors:name into the file and the tensor's name."""
    path, found, key = given.rpartition(".safetensors:")
    return (f"{path}.safetensors", key) if found else (given, "")


def is_array(given: str) -> bool:
    """Whether a text names an array file."""
    return split(given)[0].endswith((".npy", ".safetensors"))


def check_array(name: str, given: str) -> None:
    """Check for the file, without reading it.

    Raises:
        InputError: no such file, or another format.
    """
    if not is_array(given):
        raise InputError(f"{name}: {given}, expected a .npy or .safetensors file")
    if not Path(split(given)[0]).is_file():
        raise InputError(f"{name}: {given} (no such file), expected {EXPECTED}")


def load_array(name: str, given: str) -> Any:
    """Load a .npy file, memory-mapped, or a tensor of a .safetensors file.

    Raises:
        InputError: no such file, another format, no such tensor in it, or a single number.
    """
    check_array(name, given)
    array = read_npy(name, given, True, EXPECTED) if given.endswith(".npy") else _tensor(name, given)
    if array.ndim == 0:
        raise InputError(f"{name}: {given} holds a single value, expected an array")
    return array


def _tensor(name: str, given: str) -> Any:
    from safetensors import safe_open

    path, key = split(given)
    with readable(name, path, EXPECTED), safe_open(path, "pt") as file:
        names = list(file.keys())
        if not key and len(names) != 1:
            raise InputError(f"{name}: {given} holds {', '.join(names)}, expected {given}:name for one of them")
        return file.get_tensor(key or names[0])
