"""Artifacts on disk: made once, found again by their key, used only if undamaged."""

from __future__ import annotations

import json
import pkgutil
import re
import shutil
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock, Timeout

from benchmarks.artifacts.artifact import Artifact, checksum, identity, inputs, key
from compat.errors import InputError
from compat.files import replace

if TYPE_CHECKING:
    from torch import Tensor

TENSORS, RECORD = "tensors.safetensors", "record.json"
SPENT = "spent"  # seconds of a training before it was stopped, beside its unfinished state
DISK = re.compile(r"No space left|Read-only file system|PytorchStreamWriter|\(os error \d+\)")
KEPT = 24  # artifacts whose tensors stay in memory
RECALLED = 8  # derived values in memory
T = TypeVar("T")


class StoreError(InputError):
    """The run folder cannot be written; finished artifacts stay."""


class ArtifactStore:
    """A folder with one subfolder `<stage>-<key>` per artifact.

    The tensors come first and the record, with their checksum, last, each through a temporary file and a rename: an
    artifact is complete or absent, whenever the process is killed. While one is made, a file lock beside it keeps other
    processes waiting, which then find it made; the kernel frees the lock of a killed process. The processes of one
    training all make it and the first one writes; two such trainings on one folder at the same time are not supported.

    Args:
        folder: of the artifacts.
        announce: called with each artifact to be made, or waited for.
    """

    def __init__(self, folder: str | Path, announce: Callable[[str], None] = lambda text: None) -> None:
        self.folder, self.announce = Path(folder), announce
        self.kept: OrderedDict[Artifact, dict[str, Tensor]] = OrderedDict()
        self.recalled: OrderedDict[Hashable, Any] = OrderedDict()
        self.failed: dict[Artifact, Exception] = {}

    def folder_of(self, artifact: Artifact) -> Path:
        """Return an artifact's folder."""
        return self.folder / f"{artifact.stage}-{key(artifact)}"

    def record(self, artifact: Artifact) -> dict[str, Any] | None:
        """Return an artifact's record: seconds, commit, versions, hardware, threads, date; None if it is missing."""
        return read_record(self.folder_of(artifact))

    def get(self, artifact: Artifact) -> dict[str, Tensor]:
        """Return an artifact's tensors, from disk if undamaged, else made, after all its inputs.

        Raises:
            StoreError: the folder cannot be written.
            Exception: any error of its maker, now or earlier in this process.
        """
        if artifact in self.failed:
            raise self.failed[artifact]
        if artifact not in self.kept:
            try:
                found = self._read(artifact)
                self.kept[artifact] = self._make(artifact) if found is None else found
            except (StoreError, KeyboardInterrupt):
                raise
            except Exception as error:
                self.failed[artifact] = error
                raise
        self.kept.move_to_end(artifact)
        tensors = self.kept[artifact]
        if len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return tensors

    def recall(self, what: Hashable, make: Callable[[], T]) -> T:
        """Return a cheap derived value used by several artifacts in a row; the last few stay in memory."""
        if what not in self.recalled:
            self.recalled[what] = make()
        self.recalled.move_to_end(what)
        found: T = self.recalled[what]
        if len(self.recalled) > RECALLED:
            self.recalled.popitem(last=False)
        return found

    def adopt(self, artifact: Artifact, folder: Path, why: str) -> None:
        """Adopt an artifact made under another key, after a change known to have no effect.

        The record is kept, with the former key and the reason added.

        Raises:
            InputError: the folder holds no complete artifact.
        """
        record = read_record(folder)
        if record is None or checksum(folder / TENSORS) != record["sha256"]:
            raise InputError(f"adopt: {folder}, expected the folder of a finished artifact")
        target = self.folder_of(artifact)
        with writing(target), FileLock(f"{target}.lock"):
            target.mkdir(parents=True, exist_ok=True)
            replace(target / TENSORS, lambda path: shutil.copyfile(folder / TENSORS, path))
            kept = {name: record[name] for name in ("seconds", "made", "sha256")}
            adopted = {"from": folder.name, "why": why}
            content = {"label": artifact.label, **kept, "identity": identity(artifact), "adopted": adopted}
            self._write_record(target, content)

    def _read(self, artifact: Artifact) -> dict[str, Tensor] | None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = self.folder_of(artifact)
        record = read_record(folder)
        try:
            if record is not None and checksum(folder / TENSORS) == record["sha256"]:
                return load_file(folder / TENSORS)
        except (OSError, SafetensorError):
            pass
        return None

    def _make(self, artifact: Artifact) -> dict[str, Tensor]:
        from pytorch_lightning.utilities import rank_zero_only

        for needed in inputs(artifact):
            self.get(needed)
        first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
        folder = self.folder_of(artifact)
        with writing(folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked(artifact) if first else nullcontext():
                if first and (there := self._read(artifact)) is not None:  # another process made it meanwhile
                    return there
                if first and (folder / RECORD).exists():
                    warnings.warn(f"{folder} is damaged (its checksum differs); it is made again", stacklevel=2)
                    (folder / RECORD).unlink()
                return self._making(artifact, folder, first)

    @contextmanager
    def _locked(self, artifact: Artifact) -> Iterator[None]:
        lock = FileLock(f"{self.folder_of(artifact)}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            self.announce(f"{artifact.label}: another process makes it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _making(self, artifact: Artifact, folder: Path, first: bool) -> dict[str, Tensor]:
        from safetensors.torch import save_file

        from benchmarks.artifacts.record import provenance

        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*") if first else ():
            leftover.unlink()
        self.announce(artifact.label)
        start = time.perf_counter() - spent(folder)
        tensors = {name: tensor.contiguous() for name, tensor in self._called(artifact, folder).items()}
        seconds = round(time.perf_counter() - start, 2)
        if not first:
            return tensors
        folder.mkdir(parents=True, exist_ok=True)  # somebody may have deleted it meanwhile
        replace(folder / TENSORS, lambda path: save_file(tensors, path))
        made = {"seconds": seconds, "made": provenance(), "sha256": checksum(folder / TENSORS)}
        self._write_record(folder, {"label": artifact.label, **made, "identity": identity(artifact)})
        (folder / SPENT).unlink(missing_ok=True)
        return tensors

    def _called(self, artifact: Artifact, folder: Path) -> dict[str, Tensor]:
        """Import an artifact's maker and call it."""
        tensors: dict[str, Tensor] = pkgutil.resolve_name(artifact.maker)(artifact, self, folder)
        return tensors

    @staticmethod
    def _write_record(folder: Path, record: dict[str, Any]) -> None:
        replace(folder / RECORD, lambda path: path.write_text(json.dumps(record, indent=1)))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of a full disk or a read-only folder into one line.

    Raises:
        StoreError: something beside or below the path cannot be written.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # safetensors and torch have types of their own
        text = " ".join(str(error).split())
        named = isinstance(error, OSError) and error.filename and str(path.parent) in str(error.filename)
        if not (named or DISK.search(text)):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else text[:200]
        raise StoreError(
            f"runs: cannot write {path} ({reason}), expected a folder with room to write in; finished artifacts stay"
        ) from error


def spent(folder: Path) -> float:
    """Return the seconds of an interrupted training; 0 for a new one."""
    try:
        return float((folder / SPENT).read_text()) if any(folder.glob("epoch-*.ckpt")) else 0.0
    except (OSError, ValueError):
        return 0.0


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read a folder's record; None without a complete one."""
    try:
        record = json.loads((folder / RECORD).read_text())
        return record if record["sha256"] and (folder / TENSORS).exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
