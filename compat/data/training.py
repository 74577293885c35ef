"""The training data of one model: its images in an order given by the seed and the epoch alone."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from compat.data.images import LabelledImages, Sample
from compat.data.samplers import IdentityBatches


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Return the seed of one epoch of a training, in the process of this rank."""
    return (seed * 100_003 + epoch + rank * 1_000_000_007) % 2**32


class RepeatableLoader(DataLoader[Any]):
    """A loader with the same order and augmentation in each iteration.

    Both come from its generator, which starts anew. A resuming trainer may start an epoch's iterator twice.
    """

    def __init__(self, dataset: Any, *, seed: int, **arguments: Any) -> None:
        super().__init__(dataset, generator=torch.Generator().manual_seed(seed), **arguments)

    def __iter__(self) -> Any:
        self.generator.manual_seed(self.generator.initial_seed())
        return super().__iter__()


class TrainingImages(pl.LightningDataModule):
    """The images of one training, with labels from 0 on and each image's row as its group.

    Several views of an image, with random colours too, are stacked: the images are then (B, views, 3, H, W).

    Args:
        images: augmented.
        example: one image (3, H, W), not augmented, for networks depending on their input's shape.
        num_classes: C, the number of label values.
        seed: of the random order.
        loading: images a batch and process; of a class in each batch, None for a random order; loading processes.
    """

    def __init__(
        self,
        images: LabelledImages,
        example: Tensor,
        num_classes: int,
        seed: int,
        loading: tuple[int, int | None, int],
    ) -> None:
        super().__init__()
        self.images, self.example, self.num_classes, self.seed = images, example, num_classes, seed
        self.batch_size, self.images_per_class, self.num_workers = loading

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the images of an epoch.

        The order depends on the seed and the epoch alone, so a resumed training equals an uninterrupted one (the
        trainer reloads this loader every epoch). Each of several processes loads its share.
        """
        epoch, rank, world = 0, 0, 1
        if self.trainer:
            epoch, rank, world = self.trainer.current_epoch, self.trainer.global_rank, self.trainer.world_size
        seed, own = epoch_seed(self.seed, epoch), epoch_seed(self.seed, epoch, rank)
        images, workers = self.images, self.num_workers
        if self.images_per_class:
            batches = IdentityBatches(images.labels, self.batch_size, self.images_per_class, seed, rank, world)
            return RepeatableLoader(images, seed=own, batch_sampler=batches, num_workers=workers)
        sampler: Sampler[int] | None = DistributedSampler(images, world, rank, seed=seed) if world > 1 else None
        last_is_single = -(-len(images) // world) % self.batch_size == 1  # batch normalisation cannot train on one
        return RepeatableLoader(
            images,
            seed=own,
            batch_size=self.batch_size,
            sampler=sampler,
            shuffle=sampler is None,
            drop_last=last_is_single,
            num_workers=workers,
        )
