"""Images with labels and groups, in memory or on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from compat.data.files import read_pixels
from compat.data.transforms import NormalizedTensor
from compat.errors import InputError

Transform = Callable[[Image.Image], Tensor]


class Sample(NamedTuple):
    """One item, or a collated batch of them: image (3, H, W) float32, class label, group."""

    image: Tensor
    label: Tensor
    group: Tensor


class LabelledImages(Dataset[Sample]):
    """Images in memory, or on disk below `root`, with one label and one group each.

    Args:
        images: (N, H, W) or (N, H, W, 3) uint8 array, or N file paths relative to `root`.
        labels: (N,) class indices.
        transform: from a PIL image to a (3, H, W) tensor.
        groups: (N,) integers; default: the item's own index.
        root: the folder of the paths.
    """

    def __init__(
        self,
        images: np.ndarray | Sequence[str],
        labels: Sequence[int] | np.ndarray | Tensor,
        transform: Transform,
        groups: Sequence[int] | np.ndarray | Tensor | None = None,
        root: Path | None = None,
    ) -> None:
        images = images if isinstance(images, np.ndarray) else [os.fspath(path) for path in images]
        self.images = np.asarray(images)  # one array of paths: loading processes share it, unlike a list's objects
        self.labels = torch.as_tensor(np.asarray(labels), dtype=torch.long)
        self.groups = torch.arange(len(self.labels)) if groups is None else torch.as_tensor(np.asarray(groups))
        self.transform = transform
        self.root = root

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        """Load several items at once; normalising a batch together takes a third of the time."""
        images = self._seen(self.images[indices] if self.images.ndim == 4 else [self._load(i) for i in indices])
        return [Sample(*values) for values in zip(images, self.labels[indices], self.groups[indices], strict=True)]

    def _seen(self, pixels: Sequence[np.ndarray] | np.ndarray) -> Sequence[Tensor] | Tensor:
        """Transform B images, (H, W, 3) each."""
        sizes = {image.shape[:2] for image in pixels}
        if isinstance(self.transform, NormalizedTensor) and len(sizes) == 1 and self.transform.only_normalizes(*sizes):
            return self.transform.normalize(np.asarray(pixels))
        return [self.transform(Image.fromarray(image)) for image in pixels]

    def _load(self, index: int) -> np.ndarray:
        if self.on_disk:
            return read_pixels(self._path(self.images[index]))
        return np.asarray(Image.fromarray(self.images[index]).convert("RGB"))

    @property
    def on_disk(self) -> bool:
        """Whether `images` are paths."""
        return self.images.dtype.kind == "U"

    def _path(self, name: str) -> Path:
        return Path(self.root or "", name)

    def subset(self, indices: Tensor) -> LabelledImages:
        """Return the images of the given rows (N,), with their labels and groups."""
        images = self.images[indices.numpy()]
        return LabelledImages(images, self.labels[indices], self.transform, self.groups[indices], self.root)

    def seen_through(self, transform: Transform) -> LabelledImages:
        """Return the same images with another transform."""
        return LabelledImages(self.images, self.labels, transform, self.groups, self.root)

    def unreadable(self) -> list[int]:
        """Return the rows of the undecodable images; decodes all of them, in threads."""

        def fails(index: int) -> bool:
            try:
                self._load(index)
            except InputError:
                return True
            return False

        with ThreadPoolExecutor() as pool:
            checked = tqdm(pool.map(fails, range(len(self))), "Checking images", len(self), leave=False, disable=None)
            return [index for index, failed in enumerate(checked) if failed]

    @cached_property
    def fingerprint(self) -> str:
        """Digest labels, groups and content (pixels, or relative paths and file sizes)."""
        digest = hashlib.sha256()
        if not self.on_disk:
            digest.update(self.images.tobytes())
        else:
            listed = "".join(f"{name}\0{self._size(name)}\0" for name in self.images.tolist())
            digest.update(listed.encode(errors="surrogateescape"))  # names need not be UTF-8
        digest.update(self.labels.numpy().tobytes() + self.groups.numpy().tobytes())
        return digest.hexdigest()

    def _size(self, name: str) -> int:
        try:
            return os.stat(os.path.join(self.root or "", name)).st_size
        except OSError as error:
            raise InputError(
                f"data: cannot read the image {self._path(name)} ({error.strerror}), expected a file; is the archive "
                "unpacked completely?"
            ) from error
