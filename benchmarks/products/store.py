"""Products on disk: made once, found again by what they depend on, used only if unharmed."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from benchmarks.products.base import Product, graph, identity, inputs, key
from compat.errors import InputError
from compat.files import replace

if TYPE_CHECKING:
    from torch import Tensor

TENSORS, RECORD = "tensors.safetensors", "record.json"
DISK = ("No space left", "Read-only file system", "PytorchStreamWriter", "os error")
KEPT = 24  # products whose tensors stay in memory


class StoreError(InputError):
    """The run folder cannot be written; what is finished stays."""


def checksum(path: str | Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


class Store:
    """A folder with one subfolder `<stage>-<key>` a product.

    The tensors come first and the record, with their checksum, last, each through a temporary file and a rename: a
    product is there completely or not at all, whenever the process is killed. While one is made, a file lock beside it
    keeps other processes waiting, which then find it made; the kernel frees the lock of a process that is killed. Of
    the processes of one training all make it and the first one writes.

    Args:
        folder: of the products.
        announce: told of each product that is about to be made, or waited for.
    """

    def __init__(self, folder: str | Path, announce: Callable[[str], None] = lambda text: None) -> None:
        self.folder, self.announce = Path(folder), announce
        self.kept: OrderedDict[Product, dict[str, Tensor]] = OrderedDict()
        self.failed: dict[Product, Exception] = {}

    def folder_of(self, product: Product) -> Path:
        """Where a product lies."""
        return self.folder / f"{product.stage}-{key(product)}"

    def record(self, product: Product) -> dict[str, Any] | None:
        """What was written when it was made: seconds, commit, versions, hardware, threads, date; None if it is not."""
        return read_record(self.folder_of(product))

    def missing(self, product: Product) -> list[Product]:
        """What would have to be made for a product, itself included, in order."""
        return [one for one in graph(product) if self.record(one) is None]

    def get(self, product: Product) -> dict[str, Tensor]:
        """A product's tensors, from disk if it is there and unharmed, else made, after all that it is made from.

        Raises:
            StoreError: the folder cannot be written.
            Exception: whatever making it raised, now or earlier in this process.
        """
        if product in self.failed:
            raise self.failed[product]
        if product not in self.kept:
            try:
                self.kept[product] = self._read(product) or self._make(product)
            except (StoreError, KeyboardInterrupt):
                raise
            except Exception as error:
                self.failed[product] = error
                raise
        self.kept.move_to_end(product)
        tensors = self.kept[product]
        if len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return tensors

    def adopt(self, product: Product, folder: Path, why: str) -> None:
        """Take a product made under another key for this one, because a change is known to change nothing.

        The record keeps what it says, and gets which key it had and why it was taken over.

        Raises:
            InputError: nothing whole is in the folder.
        """
        record = read_record(folder)
        if record is None or checksum(folder / TENSORS) != record["sha256"]:
            raise InputError(f"adopt: {folder}, expected the folder of a finished product")
        target = self.folder_of(product)
        with self._writing(target), FileLock(f"{target}.lock"):
            target.mkdir(parents=True, exist_ok=True)
            replace(target / TENSORS, lambda path: shutil.copyfile(folder / TENSORS, path))
            adopted = {"from": folder.name, "why": why}
            self._write_record(target, {**record, "identity": identity(product), "adopted": adopted})

    def _read(self, product: Product) -> dict[str, Tensor] | None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = self.folder_of(product)
        record = read_record(folder)
        if record is None:
            if (folder / RECORD).exists():
                self._damaged(folder)
            return None
        try:
            if checksum(folder / TENSORS) == record["sha256"]:
                return load_file(folder / TENSORS)
        except (OSError, SafetensorError, KeyError):
            pass
        self._damaged(folder)
        return None

    def _damaged(self, folder: Path) -> None:
        warnings.warn(f"{folder} is damaged (its checksum differs); it is made again", stacklevel=2)
        with self._writing(folder):
            (folder / RECORD).unlink(missing_ok=True)

    def _make(self, product: Product) -> dict[str, Tensor]:
        from pytorch_lightning.utilities import rank_zero_only

        for needed in inputs(product):
            self.get(needed)
        first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
        folder = self.folder_of(product)
        with self._writing(folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{folder}.lock") if first else nullcontext()
            with lock:
                if first and (there := self._read(product)) is not None:  # another process made it meanwhile
                    return there
                return self._making(product, folder, first)

    def _making(self, product: Product, folder: Path, first: bool) -> dict[str, Tensor]:
        from safetensors.torch import save_file

        from benchmarks.products.record import provenance

        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*") if first else ():
            leftover.unlink()
        self.announce(product.label)
        start = time.perf_counter()
        tensors = {name: tensor.contiguous() for name, tensor in product.make(self, folder).items()}
        seconds = round(time.perf_counter() - start, 2)
        if not first:
            return tensors
        folder.mkdir(parents=True, exist_ok=True)  # somebody may have deleted it meanwhile
        replace(folder / TENSORS, lambda path: save_file(tensors, path))
        made = {"seconds": seconds, "made": provenance(), "sha256": checksum(folder / TENSORS)}
        self._write_record(folder, {"label": product.label, **made, "identity": identity(product)})
        return tensors

    @staticmethod
    def _write_record(folder: Path, record: dict[str, Any]) -> None:
        replace(folder / RECORD, lambda path: path.write_text(json.dumps(record, indent=1)))

    @staticmethod
    def _writing(folder: Path) -> _Writing:
        return _Writing(folder)


class _Writing:
    """Turns what a full disk or a read-only folder raises into one line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, InputError) or error is None:
            return
        text = " ".join(str(error).split())
        named = isinstance(error, OSError) and error.filename and str(self.folder.parent) in str(error.filename)
        full = any(words in text for words in DISK)
        if named or full:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else text[:200]
            raise StoreError(
                f"runs: cannot write {self.folder} ({reason}), expected a folder with room to write in; what is "
                "finished stays"
            ) from error


def read_record(folder: Path) -> dict[str, Any] | None:
    """A folder's record; None if there is none that is whole."""
    try:
        record = json.loads((folder / RECORD).read_text())
        return record if record["sha256"] and (folder / TENSORS).exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
