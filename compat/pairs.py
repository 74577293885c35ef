"""Training data of the heads: cached embeddings or images, in batches with two or more images of each class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from compat.batch import Pair
from compat.data.samplers import rows_by_class
from compat.data.training import RepeatableLoader, epoch_seed
from compat.errors import InputError


class Labelled(Protocol):
    """A dataset with the labels of its items, (N,) int64."""

    labels: Tensor

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, ...]: ...


class CachedEmbeddings(Dataset[Pair]):
    """The frozen models' embeddings of the training images.

    Args:
        old: (N, D_old).
        new: (N, D_new).
        labels: (N,).
    """

    def __init__(self, old: Tensor, new: Tensor, labels: Tensor) -> None:
        self.old, self.new, self.labels = old, new, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Pair:
        return Pair(self.old[index], self.new[index], self.labels[index])

    def __getitems__(self, indices: list[int]) -> list[Pair]:
        rows = (self.old[indices], self.new[indices], self.labels[indices])
        return [Pair(*values) for values in zip(*rows, strict=True)]


class PairSampler(Sampler[int]):
    """Draw every item once an epoch, two of a class in a row; a batch of even size holds whole pairs.

    The contrastive losses need a positive for each anchor. A class with an odd number of items repeats one of them.

    Args:
        labels: (N,).
        seed: of the order, which is the same in each iteration.

    Raises:
        InputError: a class with a single item.
    """

    def __init__(self, labels: Tensor, seed: int) -> None:
        self.classes = [rows for rows in rows_by_class(labels) if len(rows)]
        for members in self.classes:
            if len(members) == 1:
                raise InputError(f"data: class {labels[members[0]]} has a single training image, expected at least 2")
        self.seed = seed

    def __len__(self) -> int:
        return sum(len(members) + len(members) % 2 for members in self.classes)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        pairs = []
        for members in self.classes:
            shuffled = members[torch.randperm(len(members), generator=generator)]
            pairs.append(torch.cat([shuffled, shuffled[: len(shuffled) % 2]]).view(-1, 2))
        together = torch.cat(pairs)
        yield from together[torch.randperm(len(together), generator=generator)].flatten().tolist()


class PairData(pl.LightningDataModule):
    """Batches of pairs; their order depends on the seed and the epoch alone.

    Args:
        items: `CachedEmbeddings` or `LabelledImages`.
        batch_size: even.
        seed: of the order.
        num_workers: loading processes.
        labelled: False for batches in random order, not of pairs.
    """

    def __init__(
        self, items: Labelled, batch_size: int, seed: int, num_workers: int = 0, labelled: bool = True
    ) -> None:
        super().__init__()
        self.items, self.batch_size, self.seed = items, batch_size, seed
        self.num_workers, self.labelled = num_workers, labelled

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        epoch = self.trainer.current_epoch if self.trainer else 0
        seed = epoch_seed(self.seed, epoch)
        return RepeatableLoader(
            self.items,
            seed=seed,
            batch_size=self.batch_size,
            sampler=PairSampler(self.items.labels, seed) if self.labelled else None,
            shuffle=not self.labelled,
            num_workers=self.num_workers,
        )
