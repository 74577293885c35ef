"""Queries that are no items of the gallery, of any dataset that searches its gallery with itself."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from compat.data.base import RetrievalData
from compat.data.images import LabelledImages
from compat.data.samplers import rows_by_class
from compat.errors import InputError
from compat.share import Share


class DisjointQueries(RetrievalData):
    """Another dataset whose gallery is halved: one half of each class's images queries the other.

    In the dataset itself each item is a query too, so that a method that learns from migrated items has learned from
    some of the queries. Here it has learned from none.

    Args:
        data: the dataset; its own loading options count.
        queries: "other": one half queries the other; "same": the searched half queries itself, the control.

    Raises:
        InputError: a dataset with queries of its own; a class with a single image to search.
    """

    def __init__(self, data: RetrievalData, queries: Literal["other", "same"] = "other") -> None:
        super().__init__(data.batch_size, data.images_per_class, data.num_workers, data.on_error)
        if data.query_images() is not data.gallery_images():
            raise InputError(f"data.data: {type(data).__name__} has queries of its own, expected a dataset without")
        images = data.gallery_images()
        first, second = halves(images)
        train, augment = data.train_images(augment=False), data.train_images(augment=True).transform
        names = data.class_names(Share())
        self.hold(train, images.subset(second), augment, images.subset(first) if queries == "other" else None, names)
        self.skipped = data.skipped


def halves(images: LabelledImages) -> tuple[Tensor, Tensor]:
    """Part the rows of each class in two at random, with a fixed seed; an odd one is in the second half.

    Raises:
        InputError: a class with a single image.
    """
    random = torch.Generator().manual_seed(0)
    first: list[Tensor] = []
    second: list[Tensor] = []
    for rows in rows_by_class(images.labels):
        if len(rows) == 1:
            raise InputError(f"data.data: class {int(images.labels[rows[0]])} has a single image to search, expected 2")
        shuffled = rows[torch.randperm(len(rows), generator=random)]
        first.append(shuffled[: len(rows) // 2])
        second.append(shuffled[len(rows) // 2 :])
    return torch.cat(first).sort().values, torch.cat(second).sort().values
