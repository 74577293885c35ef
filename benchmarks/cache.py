"""Stages on disk: computed once, found again by what they depend on, used only if unharmed."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only
from safetensors.torch import load_file, save_file
from torch import Tensor

from compat.files import replace


@dataclass(frozen=True)
class Artifact:
    """What a stage made: its tensors, its key, the seconds that making it took, and whether it was found on disk."""

    tensors: dict[str, Tensor]
    key: str
    seconds: float
    cached: bool


def fingerprint(inputs: dict[str, Any]) -> str:
    """Digest of everything that a stage depends on: JSON values, dictionaries in any order, None as if left out."""
    return hashlib.sha256(json.dumps(_without_none(inputs), sort_keys=True).encode()).hexdigest()[:16]


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def checksum(path: str | Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


class Cache:
    """A folder with one subfolder `<name>-<key>` a stage.

    The tensors come first and `stage.json`, with their checksum, last, each through a temporary file
    and a rename: a stage is there completely or not at all, whenever the process is killed. Of several
    processes all build and the first one writes.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, name: str, inputs: dict[str, Any], build: Callable[[Path], dict[str, Tensor]]) -> Artifact:
        """The stage's artifact, from disk if it is there and unharmed, else from `build`.

        Args:
            name: the stage's name, for the reader of the folder.
            inputs: everything that the stage depends on.
            build: makes the tensors; gets the stage's folder, where it may leave logs and unfinished work.
        """
        inputs = {"stage": name, **inputs}
        key = fingerprint(inputs)
        folder = self.folder / f"{name}-{key}"
        tensors_file, stage_file = folder / "tensors.safetensors", folder / "stage.json"
        if stage_file.exists():
            try:
                stage = json.loads(stage_file.read_text())
                if fingerprint(stage["inputs"]) == key and checksum(tensors_file) == stage["sha256"]:
                    return Artifact(load_file(tensors_file), key, float(stage["seconds"]), cached=True)
            except (OSError, ValueError, KeyError, TypeError):
                pass
            warnings.warn(f"{folder} is damaged (its checksum differs); it is made again", stacklevel=2)
            stage_file.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            for leftover in folder.glob(".*"):
                leftover.unlink()
        start = time.perf_counter()
        tensors = {name: tensor.contiguous() for name, tensor in build(folder).items()}
        seconds = time.perf_counter() - start
        if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
            return Artifact(tensors, key, seconds, cached=False)
        replace(tensors_file, lambda path: save_file(tensors, path))
        stage = {"inputs": inputs, "seconds": seconds, "sha256": checksum(tensors_file)}
        replace(stage_file, lambda path: path.write_text(json.dumps(stage, indent=1)))
        return Artifact(tensors, key, seconds, cached=False)
