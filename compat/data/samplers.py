"""Batches of a few images of each of a few classes, for losses comparing images within a batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from compat.errors import InputError


def rows_by_class(labels: Tensor) -> list[Tensor]:
    """Return the rows (N_c,) of each class from 0 on, ascending, none for a missing class; labels are (N,)."""
    return list(labels.argsort(stable=True).split(labels.bincount().tolist()))


class IdentityBatches(Sampler[list[int]]):
    """Each batch has P classes with K images each (Hermans et al., arXiv 1703.07737).

    Every class's images are shuffled and cut into groups of K, the last one filled up with images of the same class;
    each batch takes one group of P different classes. Classes are drawn at random, weighted by their remaining groups.
    An epoch has as many batches as possible, the same number each time: torchreid's `RandomIdentitySampler` stops
    when it happens to run out of classes, so its epochs differ in length and a schedule by steps does not fit them.

    Of several processes, all draw the same global batches of P classes times their number, and each takes P classes
    of its own: no class is in two of them at the same step.

    Args:
        labels: (N,).
        batch_size: P * K, of one process.
        images_per_class: K.
        seed: of the batches, which are the same in each iteration.
        rank: of this process.
        world: number of processes.

    Raises:
        InputError: fewer classes than a global batch has.
    """

    def __init__(
        self, labels: Tensor, batch_size: int, images_per_class: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.members = [rows for rows in rows_by_class(labels) if len(rows)]
        self.images_per_class = images_per_class
        self.classes = batch_size // images_per_class
        self.seed, self.rank, self.world = seed, rank, world
        if len(self.members) < self.classes * world:
            divisors = (k for k in range(1, batch_size + 1) if batch_size % k == 0)
            enough = next(
                (f"at least {k}" for k in divisors if batch_size // k * world <= len(self.members)), "fewer processes"
            )
            raise InputError(
                f"data.images_per_class: {images_per_class}, so a batch has {self.classes * world} classes, but there "
                f"are {len(self.members)}; expected {enough}"
            )
        self.batches = self._draw()

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def _draw(self) -> list[list[int]]:
        random = torch.Generator().manual_seed(self.seed)
        groups = []
        for members in self.members:
            count = -(-len(members) // self.images_per_class)
            place = torch.arange(count * self.images_per_class) % len(members)
            shuffled = members[torch.randperm(len(members), generator=random)]
            groups.append(list(shuffled[place].split(self.images_per_class)))
        left = torch.tensor([len(of_class) for of_class in groups])
        together = self.classes * self.world
        count = int(left.sum()) // together
        while int(left.clamp(max=count).sum()) < count * together:  # no class is twice in a batch
            count -= 1
        batches = []
        for remaining in range(count, 0, -1):
            left = left.clamp(max=remaining)
            chance = 1 - torch.rand(len(left), generator=random)  # never 0
            needed = left == remaining  # at every step to come
            key = torch.where(needed, 1 + chance, chance.log() / left)
            drawn = key.topk(together).indices.tolist()
            left[drawn] -= 1
            mine = drawn[self.rank * self.classes : (self.rank + 1) * self.classes]
            taken = {number: groups[number].pop() for number in drawn}
            batches.append(torch.cat([taken[number] for number in mine]).tolist())
        return batches
