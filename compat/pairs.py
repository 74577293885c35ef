"""What the heads train on: cached embeddings or images, in batches where every class has two images or more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from compat.methods import Pair


class Labelled(Protocol):
    """A dataset that knows the labels of its items, (N,) int64."""

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


class PairSampler(Sampler[int]):
    """Every item once an epoch, two of a class after each other, so that a batch of even size has pairs only.

    The contrastive losses need a positive for each anchor. A class with an odd number of items shows one of
    them twice.

    Args:
        labels: (N,).
        generator: of the random order.
    """

    def __init__(self, labels: Tensor, generator: torch.Generator) -> None:
        self.classes = [(labels == label).nonzero().flatten() for label in labels.unique()]
        self.generator = generator

    def __len__(self) -> int:
        return sum(len(members) + len(members) % 2 for members in self.classes)

    def __iter__(self) -> Iterator[int]:
        pairs = []
        for members in self.classes:
            shuffled = members[torch.randperm(len(members), generator=self.generator)]
            pairs.append(torch.cat([shuffled, shuffled[: len(shuffled) % 2]]).view(-1, 2))
        together = torch.cat(pairs)
        yield from together[torch.randperm(len(together), generator=self.generator)].flatten().tolist()


class PairData(pl.LightningDataModule):
    """Batches of pairs; the order depends on the seed and the epoch alone.

    Args:
        items: `CachedEmbeddings` or `LabelledImages`.
        batch_size: even.
        seed: of the order.
        num_workers: loading processes.
    """

    def __init__(self, items: Labelled, batch_size: int, seed: int, num_workers: int = 0) -> None:
        super().__init__()
        self.items, self.batch_size, self.seed, self.num_workers = items, batch_size, seed, num_workers

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        epoch = self.trainer.current_epoch if self.trainer else 0
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        return DataLoader(
            self.items,  # type: ignore[arg-type]
            batch_size=self.batch_size,
            sampler=PairSampler(self.items.labels, generator),
            num_workers=self.num_workers,
            generator=generator,
        )
