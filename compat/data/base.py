"""Images with labels and groups, and how the old model's share of them is chosen.

A `LightningDataModule` here yields `(image, label, group)`. Retrieval ignores, for each query, the
gallery items of the query's own group; where the query set is also the gallery, the group is the
image's index, which removes the query itself.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler, Subset
from torchvision.datasets.folder import default_loader
from tqdm.auto import tqdm

from compat.data.samplers import IdentityBatches, rows_by_class
from compat.data.transforms import NormalizedTensor
from compat.errors import InputError

Part = Literal["old", "new", "newest"]
Share = float | tuple[float, float]
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
        self.images = np.asarray(images)  # one array of paths: loading processes share it, unlike a list's objects
        self.labels = torch.as_tensor(np.asarray(labels), dtype=torch.long)
        self.groups = torch.arange(len(self.labels)) if groups is None else torch.as_tensor(np.asarray(groups))
        self.transform = transform
        self.root = root

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.transform(self._load(index)), self.labels[index], self.groups[index])

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        """Several at once; those in memory that are only normalised are so together, in a third of the time."""
        if self.images.ndim != 4 or not isinstance(self.transform, NormalizedTensor):
            return [self[index] for index in indices]
        batch = (self.transform(self.images[indices]), self.labels[indices], self.groups[indices])
        return [Sample(*values) for values in zip(*batch, strict=True)]

    def _load(self, index: int) -> Image.Image:
        if not self.on_disk:
            return Image.fromarray(self.images[index]).convert("RGB")
        path = self._path(self.images[index])
        try:
            return default_loader(path)
        except Exception as error:  # each format and each kind of damage raises its own type
            raise InputError(f"data: cannot read the image {path} ({error}); expected a readable image file") from error

    @property
    def on_disk(self) -> bool:
        """Whether `images` are paths."""
        return self.images.dtype.kind == "U"

    def _path(self, name: str) -> Path:
        return Path(self.root or "", name)

    def subset(self, indices: Tensor) -> LabelledImages:
        """The images of the given rows (N,), with their labels and groups."""
        images = self.images[indices.numpy()]
        return LabelledImages(images, self.labels[indices], self.transform, self.groups[indices], self.root)

    def seen_through(self, transform: Transform) -> LabelledImages:
        """The same images with another transform."""
        return LabelledImages(self.images, self.labels, transform, self.groups, self.root)

    def unreadable(self) -> list[int]:
        """Rows of the images that cannot be decoded; decodes all of them, in threads."""

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
        """Digest of labels, groups and content (pixels, or relative paths and file sizes)."""
        digest = hashlib.sha256()
        if not self.on_disk:
            digest.update(self.images.tobytes())
        else:
            for name in self.images:
                try:
                    digest.update(f"{name}\0{self._path(name).stat().st_size}\0".encode())
                except OSError as error:
                    raise InputError(
                        f"data: cannot read the image {self._path(name)} ({error.strerror}), expected a file; is the "
                        "archive unpacked completely?"
                    ) from error
        digest.update(self.labels.numpy().tobytes() + self.groups.numpy().tobytes())
        return digest.hexdigest()


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed of one epoch of a training."""
    return (seed * 100_003 + epoch) % 2**32


def _yield_to_the_model(worker: int) -> None:
    os.nice(19)


class RepeatableLoader(DataLoader[Any]):
    """A loader whose order and augmentation are the same each time that it is iterated.

    Both come from its generator, which starts anew. A trainer that resumes may start an epoch's iterator twice.
    """

    def __init__(self, dataset: Any, *, seed: int, **arguments: Any) -> None:
        super().__init__(dataset, generator=torch.Generator().manual_seed(seed), **arguments)

    def __iter__(self) -> Any:
        self.generator.manual_seed(self.generator.initial_seed())
        return super().__iter__()


class RetrievalData(pl.LightningDataModule):
    """What every dataset shares: which of the training data each model sees, and the loaders.

    A dataset calls `hold` at the end of its constructor, or overrides `train_images`, `gallery_images` and, where
    the queries are not the gallery itself, `query_images`.

    The upgrade settings of the literature are shares of the training classes and of their images. A share of the
    classes means the first ones by class index, a pair of shares those from one to the other: 0.5 is the first
    half, [0.3, 1] all but the first 30 %. Shares of the images are drawn in each class with a fixed seed. The
    newest model of a sequence sees all.

    Args:
        old_classes: share of the classes that the old model sees.
        old_images: share of the images of each of these classes that the old model sees.
        new_classes: share of the classes that the new model, and the heads, see; default all.
        new_images: share of the images of each of these; default all.
        batch_size: images a batch and process, for training and for extraction.
        images_per_class: images of a class in each training batch, which then holds batch_size / images_per_class
            classes (the identity-balanced batches of person re-identification); default: images in random order.
        num_workers: loading processes of each process; 0 loads in the main process.
        on_error: what happens with an image that cannot be decoded: "raise" stops where it is met; "skip" decodes
            all of them first, leaves such images out, and counts them in the result.

    Raises:
        InputError: a share outside (0, 1] or one that leaves nothing, a batch size below 1 or one that
            images_per_class does not divide, a negative number of workers.
    """

    def __init__(
        self,
        old_classes: Share = 0.5,
        old_images: float = 1.0,
        new_classes: Share | None = None,
        new_images: float | None = None,
        batch_size: int = 128,
        images_per_class: int | None = None,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        super().__init__()
        self.classes_of: dict[Part, Share] = {
            "old": old_classes,
            "new": 1.0 if new_classes is None else new_classes,
            "newest": 1.0,
        }
        self.images_of: dict[Part, float] = {
            "old": old_images,
            "new": 1.0 if new_images is None else new_images,
            "newest": 1.0,
        }
        for part, share in self.classes_of.items():
            low, *high = share if isinstance(share, Sequence) else (0.0, share)
            if len(high) != 1 or not 0 <= low < high[0] <= 1:
                raise InputError(f"data.{part}_classes: {share}, expected a share in (0, 1] or a pair of shares")
        for part, share in self.images_of.items():
            if not 0 < share <= 1:
                raise InputError(f"data.{part}_images: {share}, expected a share in (0, 1]")
        if batch_size < 1:
            raise InputError(f"data.batch_size: {batch_size}, expected at least 1")
        if images_per_class is not None and (images_per_class < 1 or batch_size % images_per_class):
            raise InputError(
                f"data.images_per_class: {images_per_class}, expected a divisor of batch_size {batch_size}"
            )
        if num_workers < 0:
            raise InputError(f"data.num_workers: {num_workers}, expected at least 0")
        self.batch_size, self.images_per_class = batch_size, images_per_class
        self.num_workers, self.on_error = num_workers, on_error
        self.part: Part = "new"
        self.seed = 0
        self.skipped: list[str] = []
        self._query: LabelledImages | None = None
        self._class_names: Sequence[str] | None = None

    def hold(
        self,
        train: LabelledImages,
        gallery: LabelledImages,
        augment: Transform,
        query: LabelledImages | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        """Keep what the dataset consists of.

        Args:
            train: training images, seen plainly; labels 0 to C - 1.
            gallery: the gallery that is backfilled.
            augment: the transform of the training images in training.
            query: the queries; by default the gallery itself.
            class_names: of the C training classes; default: their indices.

        Raises:
            InputError: a class without a training image, no image at all.
        """
        names = [str(label) for label in range(int(train.labels.max()) + 1)] if class_names is None else class_names
        if self.on_error == "skip":
            train, gallery = self._readable(train), self._readable(gallery)
            query = None if query is None else self._readable(query)
        for what, images in {"training": train, "gallery": gallery, "query": query}.items():
            if images is not None and len(images) == 0:
                raise InputError(f"data.root: no {what} image that can be read, expected at least one")
        for name, count in zip(names, torch.bincount(train.labels, minlength=len(names)), strict=True):
            if count == 0:
                raise InputError(f"data.root: class {name!r} has no training image, expected at least one")
        self._train = {False: train, True: train.seen_through(augment)}
        self._gallery, self._query = gallery, query
        self._class_names = names

    def _readable(self, images: LabelledImages) -> LabelledImages:
        bad = images.unreadable()
        self.skipped += [str(images.images[index]) for index in bad]
        keep = torch.ones(len(images), dtype=torch.bool)
        keep[bad] = False
        return images.subset(keep.nonzero().flatten()) if bad else images

    def train_images(self, augment: bool) -> LabelledImages:
        """All training images; `augment` for training, plain for extraction."""
        return self._train[augment]

    def gallery_images(self) -> LabelledImages:
        """The gallery that is backfilled."""
        return self._gallery

    def query_images(self) -> LabelledImages:
        """The queries; by default the gallery itself."""
        return self.gallery_images() if self._query is None else self._query

    def class_names(self, part: Part) -> list[str]:
        """Names of the classes that a model is trained on, in the order of their indices."""
        names = self._names()
        return [names[label] for label in self.classes(part)]

    def _names(self) -> Sequence[str]:
        if self._class_names is not None:
            return self._class_names
        return [str(label) for label in range(int(self.train_images(augment=False).labels.max()) + 1)]

    def classes(self, part: Part) -> range:
        """Indices of the classes that a model is trained on."""
        total = len(self._names())
        share = self.classes_of[part]
        low, high = share if isinstance(share, Sequence) else (0.0, share)
        chosen = range(round(low * total), round(high * total))
        if not chosen:
            raise InputError(f"data.{part}_classes: {share} of {total} classes is none, expected a greater share")
        return chosen

    def part_indices(self, part: Part) -> Tensor:
        """Indices of the training images that a model is trained on, ascending."""
        labels, share = self.train_images(augment=False).labels, self.images_of[part]
        random = torch.Generator().manual_seed(0)
        members, chosen = rows_by_class(labels), []
        for label in self.classes(part):
            of_class = members[label]
            count = round(share * len(of_class))
            if count == 0:
                raise InputError(
                    f"data.{part}_images: {share} of the {len(of_class)} images of class "
                    f"{self._names()[label]!r} is none, expected a greater share"
                )
            chosen.append(of_class[torch.randperm(len(of_class), generator=random)[:count]])
        return torch.cat(chosen).sort().values

    def num_classes(self, part: Part) -> int:
        """Number of classes that a model's classifier tells apart."""
        return len(self.classes(part))

    def fit_on(self, part: Part, seed: int) -> None:
        """Choose what `train_dataloader` yields: whose part, in which random order."""
        self.part, self.seed = part, seed

    def train_dataloader(self) -> DataLoader[Sample]:
        """The chosen part, augmented, with labels from 0 on. The order depends on the seed and the epoch alone, so
        that a resumed training goes on as if it had not stopped (the trainer reloads this loader every epoch). Of
        several processes each loads its share."""
        epoch, rank, world = 0, 0, 1
        if self.trainer:
            epoch, rank, world = self.trainer.current_epoch, self.trainer.global_rank, self.trainer.world_size
        seed = epoch_seed(self.seed, epoch)
        images = self.train_images(augment=True).subset(self.part_indices(self.part))
        images.labels = images.labels - self.classes(self.part).start
        if self.images_per_class:
            batches = IdentityBatches(images.labels, self.batch_size, self.images_per_class, seed, rank, world)
            return RepeatableLoader(images, seed=seed + rank, batch_sampler=batches, num_workers=self.num_workers)
        sampler: Sampler[int] | None = DistributedSampler(images, world, rank, seed=seed) if world > 1 else None
        last_is_single = -(-len(images) // world) % self.batch_size == 1  # batch normalisation cannot train on one
        return RepeatableLoader(
            images,
            seed=seed + rank,
            batch_size=self.batch_size,
            sampler=sampler,
            shuffle=sampler is None,
            drop_last=last_is_single,
            num_workers=self.num_workers,
        )

    def splits(self) -> dict[str, LabelledImages]:
        """What is embedded: the training images, the gallery and the queries, these unless they are the gallery."""
        splits = {"train": self.train_images(augment=False), "gallery": self.gallery_images()}
        if self.query_images() is not self.gallery_images():
            splits["query"] = self.query_images()
        return splits

    def predict_dataloader(self) -> list[DataLoader[Sample]]:
        """A loader for each of `splits`, in the dataset's order; of several processes each has a run of the rows."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return [
            DataLoader(
                worker_init_fn=_yield_to_the_model,
                dataset=Subset(images, range(len(images) * rank // world, len(images) * (rank + 1) // world)),
                batch_size=self.batch_size,
                num_workers=self.num_workers,
            )
            for images in self.splits().values()
        ]

    def fingerprint(self) -> list[str]:
        """Digests of the content of the training images, the queries and the gallery."""
        return [images.fingerprint for images in (self.train_images(False), self.query_images(), self.gallery_images())]


def check_counts(root: Path, counts: dict[str, tuple[int, int]]) -> None:
    """Compare what is there with the published protocol.

    Args:
        root: of the dataset.
        counts: what is counted -> (found, expected).

    Raises:
        InputError: the first count that differs.
    """
    for what, (found, expected) in counts.items():
        if found != expected:
            raise InputError(
                f"data.root: {found:,} {what} in {root}, expected the protocol's {expected:,}; is the archive unpacked "
                "completely? (verify: false takes what is there)"
            )


@contextmanager
def reading(root: Path, layout: str) -> Iterator[None]:
    """Turn whatever reading `root` raises into one line that says the expected layout, or how to get it."""
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"data.root: no permission to read {error.filename or root}, expected {layout}") from error
    except Exception as error:  # each reader has its own
        reason = " ".join(str(error).split())
        raise InputError(f"data.root: cannot read {root} ({reason}), expected {layout}") from error
