"""Images with labels and groups, and how the old model's share of them is chosen.

A `LightningDataModule` here yields `(image, label, group)`. Retrieval ignores, for each query, the
gallery items of the query's own group; where the query set is also the gallery, the group is the
image's index, which removes the query itself.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2

from compat.errors import InputError

Part = Literal["old", "new"]


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
        labels: Sequence[int] | np.ndarray,
        transform: Callable[[Image.Image], Tensor],
        groups: Sequence[int] | np.ndarray | None = None,
        root: Path | None = None,
    ) -> None:
        self.images = images
        self.labels = torch.as_tensor(np.asarray(labels), dtype=torch.long)
        self.groups = torch.arange(len(self.labels)) if groups is None else torch.as_tensor(np.asarray(groups))
        self.transform = transform
        self.root = root

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.transform(self._load(index)), self.labels[index], self.groups[index])

    def _load(self, index: int) -> Image.Image:
        if isinstance(self.images, np.ndarray):
            return Image.fromarray(self.images[index]).convert("RGB")
        path = Path(self.root or "", self.images[index])
        try:
            return default_loader(path)
        except Exception as error:  # each format and each kind of damage raises its own type
            raise InputError(f"data: cannot read the image {path} ({error}); expected a readable image file") from error

    @cached_property
    def fingerprint(self) -> str:
        """Digest of labels, groups and content (pixels, or relative paths and file sizes)."""
        digest = hashlib.sha256()
        if isinstance(self.images, np.ndarray):
            digest.update(self.images.tobytes())
        else:
            for name in self.images:
                path = Path(self.root or "", name)
                try:
                    digest.update(f"{name}\0{path.stat().st_size}\0".encode())
                except OSError as error:
                    raise InputError(f"data: cannot read the image {path} ({error}); expected a file") from error
        digest.update(self.labels.numpy().tobytes() + self.groups.numpy().tobytes())
        return digest.hexdigest()


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed of one epoch of a training."""
    return (seed * 100_003 + epoch) % 2**32


class RepeatableLoader(DataLoader[Any]):
    """A loader whose order and augmentation are the same each time that it is iterated.

    Both come from its generator, which starts anew. A trainer that resumes may start an epoch's iterator twice.
    """

    def __init__(self, dataset: Any, *, seed: int, **arguments: Any) -> None:
        super().__init__(dataset, generator=torch.Generator().manual_seed(seed), **arguments)

    def __iter__(self) -> Any:
        self.generator.manual_seed(self.generator.initial_seed())
        return super().__iter__()


class RetrievalData(pl.LightningDataModule, ABC):
    """What every dataset shares: the old model's part of the training data, and the loaders.

    A dataset implements `train_images` and `gallery_images`, and `query_images` where the queries
    are not the gallery itself.

    Args:
        old_classes: share of the classes, the first ones by class index, that the old model sees.
        old_images: share of the images of each of these classes that the old model sees, drawn with
            a fixed seed.
        batch_size: images a batch, for training and for extraction.
        num_workers: loading processes; 0 loads in the main process.

    Raises:
        InputError: a share outside (0, 1], a batch size below 1, a negative number of workers.
    """

    def __init__(
        self, old_classes: float = 1.0, old_images: float = 1.0, batch_size: int = 128, num_workers: int = 0
    ) -> None:
        super().__init__()
        for name, share in {"old_classes": old_classes, "old_images": old_images}.items():
            if not 0 < share <= 1:
                raise InputError(f"data.{name}: {share}, expected a share in (0, 1]")
        if batch_size < 1:
            raise InputError(f"data.batch_size: {batch_size}, expected at least 1")
        if num_workers < 0:
            raise InputError(f"data.num_workers: {num_workers}, expected at least 0")
        self.old_classes, self.old_images = old_classes, old_images
        self.batch_size, self.num_workers = batch_size, num_workers
        self.part: Part = "new"
        self.seed = 0

    @abstractmethod
    def train_images(self, augment: bool) -> LabelledImages:
        """All training images; `augment` for training, plain for extraction."""

    @abstractmethod
    def gallery_images(self) -> LabelledImages:
        """The gallery that is backfilled."""

    def query_images(self) -> LabelledImages:
        """The queries; by default the gallery itself."""
        return self.gallery_images()

    def part_indices(self, part: Part) -> Tensor:
        """Indices of the training images that the old or the new model is trained on, ascending."""
        labels = self.train_images(augment=False).labels
        if part == "new":
            return torch.arange(len(labels))
        classes = round(self.old_classes * (int(labels.max()) + 1))
        random = torch.Generator().manual_seed(0)
        chosen = []
        for label in range(max(classes, 1)):
            of_class = (labels == label).nonzero().flatten()
            share = max(round(self.old_images * len(of_class)), 1)
            chosen.append(of_class[torch.randperm(len(of_class), generator=random)[:share]])
        return torch.cat(chosen).sort().values

    def num_classes(self, part: Part) -> int:
        """Number of classes that the old or the new model's classifier tells apart."""
        return int(self.train_images(augment=False).labels[self.part_indices(part)].max()) + 1

    def fit_on(self, part: Part, seed: int) -> None:
        """Choose what `train_dataloader` yields: whose part, in which random order."""
        self.part, self.seed = part, seed

    def train_dataloader(self) -> DataLoader[Sample]:
        """The chosen part, augmented. The order depends on the seed and the epoch alone, so that a resumed
        training goes on as if it had not stopped (the trainer reloads this loader every epoch)."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        images = Subset(self.train_images(augment=True), self.part_indices(self.part).tolist())
        last_is_single = len(images) % self.batch_size == 1  # batch normalisation cannot train on one image
        return RepeatableLoader(
            images,
            seed=epoch_seed(self.seed, epoch),
            batch_size=self.batch_size,
            shuffle=True,
            drop_last=last_is_single,
            num_workers=self.num_workers,
        )

    def fingerprint(self) -> list[str]:
        """Digests of the content of the training images, the queries and the gallery."""
        return [images.fingerprint for images in (self.train_images(False), self.query_images(), self.gallery_images())]


def normalized_tensor(mean: list[float], std: list[float]) -> v2.Transform:
    """From a PIL image to a float32 tensor, normalised; the last step of every transform."""
    return v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
