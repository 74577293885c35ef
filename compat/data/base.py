"""Parts common to all datasets: the images each generation of the model is trained on, and the loaders.

A `LightningDataModule` here yields `(image, label, group)`. For each query, retrieval ignores the
gallery items of the query's own group. Where the query set is also the gallery, the group is the
image's index, which removes the query itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from compat.data.files import printable
from compat.data.images import LabelledImages, Sample, Transform
from compat.data.samplers import IdentityBatches, rows_by_class
from compat.data.training import TrainingImages
from compat.data.transforms import Views
from compat.errors import InputError
from compat.share import Share, bounds_of


class RetrievalData(pl.LightningDataModule):
    """Base of all datasets: selects a generation's part of the training data and builds the loaders.

    A dataset calls `hold` at the end of its constructor, or overrides `train_images`, `gallery_images` and, where
    the queries are not the gallery itself, `query_images`.

    Args:
        batch_size: images per batch and process, for training and for extraction.
        images_per_class: images of a class in each training batch, which then holds batch_size / images_per_class
            classes (the identity-balanced batches of person re-identification); default: images in random order.
        num_workers: loading processes per process; 0 loads in the main process.
        on_error: "raise" stops at the first undecodable image; "skip" decodes all images at every start (slow), leaves
            the undecodable ones out and lists them in the result.
        gallery_classes: share of the training classes, or a range of them as in `Share`, that queries and gallery are
            limited to; with models and heads of other classes nothing has seen those searched. Default: all.

    Raises:
        InputError: a batch size below 1 or not divisible by images_per_class, a negative number of workers, a share
            outside (0, 1].
    """

    def __init__(
        self,
        batch_size: int = 128,
        images_per_class: int | None = None,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        gallery_classes: float | tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"data.batch_size: {batch_size}, expected at least 1")
        if images_per_class is not None and (images_per_class < 1 or batch_size % images_per_class):
            raise InputError(
                f"data.images_per_class: {images_per_class}, expected a divisor of batch_size {batch_size}"
            )
        if num_workers < 0:
            raise InputError(f"data.num_workers: {num_workers}, expected at least 0")
        if gallery_classes is not None:
            bounds_of(gallery_classes, "data.gallery_classes")
        self.gallery_classes = gallery_classes
        self.batch_size, self.images_per_class = batch_size, images_per_class
        self.num_workers, self.on_error = num_workers, on_error
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
        """Store the dataset's images.

        Args:
            train: training images, without augmentation; labels 0 to C - 1.
            gallery: the gallery to backfill.
            augment: the transform of the training images in training.
            query: the queries; by default the gallery itself.
            class_names: of the C training classes; default: their indices.

        Raises:
            InputError: a class without a training image, no image at all, training labels outside 0 to C - 1, unequal
                numbers of labels and images.
        """
        for images in (train, gallery, query):
            if images is not None and len(images.images) != len(images.labels):
                found = f"{len(images.labels):,} labels for {len(images.images):,} images"
                raise InputError(f"data.root: {found}, expected one for each")
        names = [str(label) for label in range(int(train.labels.max()) + 1)] if class_names is None else class_names
        names = [printable(name) for name in names]
        if len(wrong := train.labels[(train.labels < 0) | (train.labels >= len(names))]):
            raise InputError(f"data.root: label {wrong[0]} of a training image, expected 0 to {len(names) - 1}")
        if self.on_error == "skip":
            train, gallery = self._readable(train), self._readable(gallery)
            query = None if query is None else self._readable(query)
        for what, images in {"training": train, "gallery": gallery, "query": query}.items():
            if images is not None and len(images) == 0:
                raise InputError(f"data.root: no readable {what} image, expected at least one")
        for name, count in zip(names, torch.bincount(train.labels, minlength=len(names)), strict=True):
            if count == 0:
                raise InputError(f"data.root: class {name!r} has no training image, expected at least one")
        self._train = {False: train, True: train.seen_through(augment)}
        self._class_names = names
        self._gallery, self._query = self._limited(gallery), None if query is None else self._limited(query)

    def _readable(self, images: LabelledImages) -> LabelledImages:
        bad = images.unreadable()
        self.skipped += [printable(str(images.images[index])) for index in bad]
        keep = torch.ones(len(images), dtype=torch.bool)
        keep[bad] = False
        return images.subset(keep.nonzero().flatten()) if bad else images

    def _limited(self, images: LabelledImages) -> LabelledImages:
        """Return the queries or the gallery of `gallery_classes`."""
        if self.gallery_classes is None:
            return images
        shown = self.classes(Share(self.gallery_classes))
        keep = (images.labels >= shown.start) & (images.labels < shown.stop)
        if not keep.any():
            raise InputError(f"data.gallery_classes: {self.gallery_classes}, expected classes with images to search")
        return images.subset(keep.nonzero().flatten())

    def train_images(self, augment: bool) -> LabelledImages:
        """Return all training images; `augment` for training, plain for extraction."""
        return self._train[augment]

    def gallery_images(self) -> LabelledImages:
        """Return the gallery to backfill."""
        return self._gallery

    def query_images(self) -> LabelledImages:
        """Return the queries; by default the gallery itself."""
        return self.gallery_images() if self._query is None else self._query

    def class_names(self, sees: Share) -> list[str]:
        """Return the names of the classes in a model's training data, in the order of their indices."""
        names = self._names()
        return [names[label] for label in self.classes(sees)]

    def _names(self) -> Sequence[str]:
        if self._class_names is not None:
            return self._class_names
        return [str(label) for label in range(int(self.train_images(augment=False).labels.max()) + 1)]

    def classes(self, sees: Share) -> range:
        """Return the indices of the classes in a model's training data."""
        total, (low, high) = len(self._names()), sees.bounds
        chosen = range(round(low * total), round(high * total))
        if not chosen:
            raise InputError(f"sees.classes: {sees.classes} of {total} classes is none, expected a greater share")
        return chosen

    def num_classes(self, sees: Share) -> int:
        """Return the number of classes of a model's classifier."""
        return len(self.classes(sees))

    def rows(self, sees: Share) -> Tensor:
        """Return the indices of a model's training images, ascending."""
        labels = self.train_images(augment=False).labels
        random = torch.Generator().manual_seed(0)
        members, chosen = rows_by_class(labels), []
        for label in self.classes(sees):
            of_class = members[label]
            start, stop = (round(share * len(of_class)) for share in sees.drawn)
            if start == stop:
                raise InputError(
                    f"sees.images: {sees.images} of the {len(of_class)} images of class {self._names()[label]!r} is "
                    "none, expected a greater share"
                )
            chosen.append(of_class[torch.randperm(len(of_class), generator=random)[start:stop]])
        return torch.cat(chosen).sort().values

    def check(self, sees: Share, name: str) -> None:
        """Check the training data before a training starts.

        Raises:
            InputError: a class with a single image, which gives contrastive losses no pair; fewer classes than
                `images_per_class` needs.
        """
        labels = self.train_images(augment=False).labels[self.rows(sees)] - self.classes(sees).start
        for of_class, count in zip(self.class_names(sees), labels.bincount(), strict=True):
            if count == 1:
                raise InputError(
                    f"data: class {of_class!r} has a single training image for {name}, expected at least 2"
                )
        if self.images_per_class:
            IdentityBatches(labels, self.batch_size, self.images_per_class, seed=0)

    def training(self, sees: Share, seed: int, views: int = 1) -> TrainingImages:
        """Return the training data module of one model: its part of the images, augmented, in a seeded random order."""
        images = self.train_images(augment=True).subset(self.rows(sees))
        images.labels = images.labels - self.classes(sees).start
        images.groups = torch.arange(len(images))
        if views > 1:
            images = images.seen_through(Views(images.transform, views))
        example = self.gallery_images()[0].image
        loading = (self.batch_size, self.images_per_class, self.num_workers)
        return TrainingImages(images, example, self.num_classes(sees), seed, loading)

    def splits(self) -> dict[str, LabelledImages]:
        """Return the splits to embed: training images, gallery and, unless they are the gallery, queries."""
        splits = {"train": self.train_images(augment=False), "gallery": self.gallery_images()}
        if self.query_images() is not self.gallery_images():
            splits["query"] = self.query_images()
        return splits

    def predict_dataloader(self) -> list[DataLoader[Sample]]:
        """Return a loader for each of `splits`, in the dataset's order; each of several processes has some rows."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return [
            DataLoader(
                Subset(images, range(len(images) * rank // world, len(images) * (rank + 1) // world)),
                batch_size=self.batch_size,
                num_workers=self.num_workers,
            )
            for images in self.splits().values()
        ]

    def fingerprint(self) -> list[str]:
        """Return digests of the content of the training images, the queries and the gallery."""
        return [images.fingerprint for images in (self.train_images(False), self.query_images(), self.gallery_images())]
