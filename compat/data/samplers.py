"""Batches of a few images of each of a few classes, for losses that compare images of a batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from compat.errors import InputError


class IdentityBatches(Sampler[list[int]]):
    """Each batch has P classes with K images each (Hermans et al., arXiv 1703.07737; torchreid's
    `RandomIdentitySampler`).

    Every class's images are shuffled and cut into groups of K, the last one filled up with images of the same class;
    each batch takes one group of P different classes, until fewer than P classes have groups left. So an image is seen
    about once an epoch, and which ones are left out changes with the seed.

    Of several processes, all draw the same global batches of P classes times their number, and each takes P classes
    of its own: no class is in two of them at the same step, and all have the same number of batches.

    Args:
        labels: (N,).
        batch_size: P * K, of one process.
        images_per_class: K.
        seed: of the batches, which are the same each time that they are iterated.
        rank: of this process.
        world: number of processes.

    Raises:
        InputError: fewer classes than a global batch has.
    """

    def __init__(
        self, labels: Tensor, batch_size: int, images_per_class: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.members = [(labels == label).nonzero().flatten() for label in labels.unique()]
        self.images_per_class = images_per_class
        self.classes = batch_size // images_per_class
        self.seed, self.rank, self.world = seed, rank, world
        if len(self.members) < self.classes * world:
            raise InputError(
                f"data.images_per_class: {images_per_class}, so a batch has {self.classes * world} classes, but there "
                f"are {len(self.members)}; expected at least {-(-batch_size * world // len(self.members))}"
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
            missing = -len(members) % self.images_per_class
            extra = members[torch.randint(len(members), (missing,), generator=random)]
            shuffled = torch.cat([members[torch.randperm(len(members), generator=random)], extra])
            groups.append(list(shuffled.split(self.images_per_class)))
        batches, together = [], self.classes * self.world
        while len(left := [number for number, group in enumerate(groups) if group]) >= together:
            drawn = [left[i] for i in torch.randperm(len(left), generator=random)[:together].tolist()]
            mine = drawn[self.rank * self.classes : (self.rank + 1) * self.classes]
            taken = {number: groups[number].pop() for number in drawn}
            batches.append(torch.cat([taken[number] for number in mine]).tolist())
        return batches
