"""A dataset for choosing hyper-parameters: some training images are held out as queries and gallery."""

from __future__ import annotations

import torch
from torch import Tensor

from compat.data import RetrievalData, Share


class HeldOut(RetrievalData):
    """The training images of a dataset; a share of them is held out as queries and gallery.

    Args:
        data: the dataset; its own gallery is not read.
        share: held-out share of the training images.
        seed: of the choice.
    """

    def __init__(self, data: RetrievalData, share: float = 0.25, seed: int = 0) -> None:
        super().__init__(data.batch_size, data.images_per_class, data.num_workers, data.on_error)
        self.data, train = data, data.train_images(augment=False)
        shuffled = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        self.held = shuffled[: round(share * len(train))].sort().values
        augment = data.train_images(augment=True).transform
        self.hold(train, train.subset(self.held), augment, class_names=data.class_names(Share()))

    def rows(self, sees: Share) -> Tensor:
        rows = self.data.rows(sees)
        return rows[~torch.isin(rows, self.held)]
