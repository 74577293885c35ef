"""Fewer training images of any dataset, for cheap trainings."""

from __future__ import annotations

import torch

from compat.data.base import RetrievalData
from compat.data.samplers import rows_by_class
from compat.errors import InputError
from compat.share import Share


class FewerTraining(RetrievalData):
    """Another dataset with some of the training images of each class, drawn at random; queries and gallery stay.

    Unlike `sees.images`, the images left out are not even embedded.

    Args:
        data: the dataset; its own loading options count.
        train_per_class: how many; of a smaller class all.

    Raises:
        InputError: fewer than 2, which gives contrastive losses no pair.
    """

    def __init__(self, data: RetrievalData, train_per_class: int) -> None:
        super().__init__(data.batch_size, data.images_per_class, data.num_workers, data.on_error)
        if train_per_class < 2:
            raise InputError(f"data.train_per_class: {train_per_class}, expected at least 2")
        random = torch.Generator().manual_seed(0)
        train, augmented = data.train_images(augment=False), data.train_images(augment=True)
        drawn = [
            rows[torch.randperm(len(rows), generator=random)[:train_per_class]] for rows in rows_by_class(train.labels)
        ]
        query, gallery = data.query_images(), data.gallery_images()
        some = train.subset(torch.cat(drawn).sort().values)
        some.groups = torch.arange(len(some))
        names = data.class_names(Share())
        self.hold(some, gallery, augmented.transform, None if query is gallery else query, names)
        self.skipped = data.skipped
