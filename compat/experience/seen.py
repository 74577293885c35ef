"""What is known while a gallery is backfilled, and how what is not migrated is searched until the next refit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from compat.errors import InputError
from compat.experience.maps import Expected, Query
from compat.experience.world import Prior
from compat.merge import Merge
from compat.methods.upgrade import Upgrade

Queries: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class SeenItems:
    """What is known at a moment of a backfill, and no more: the new embeddings are those of the migrated items.

    Args:
        old: (G, D_old), the whole gallery before its backfill.
        migrated: (N,) rows of the items migrated so far.
        new: (N, D_new), what they were migrated to.

    Attributes: the same names, and `baseline`, (N, D_old), the old embeddings of the migrated items.

    Raises:
        InputError: an item that is not in the gallery or migrated twice, as many rows as items, NaN.
    """

    def __init__(self, old: Tensor, migrated: Tensor, new: Tensor) -> None:
        self.old, self.migrated, self.new = old, migrated, new
        if old.ndim != 2 or new.ndim != 2 or len(new) != len(migrated):
            shapes = f"shapes {tuple(old.shape)} and {tuple(new.shape)}"
            raise InputError(f"pairs: {shapes} for {len(migrated)} items, expected a row of each for every item")
        for row in migrated[(migrated < 0) | (migrated >= len(old))].tolist():
            raise InputError(f"migrated: item {row}, expected one of the {len(old)} of the gallery")
        values, counts = migrated.unique(return_counts=True)
        for row in values[counts > 1].tolist():
            raise InputError(f"migrated: item {row} twice, expected each item once")
        self.before = old[migrated]
        for name, rows in (("old", self.before), ("new", new)):
            for pair in (~rows.isfinite().all(1)).nonzero().flatten().tolist():
                item = int(migrated[pair])
                raise InputError(f"pairs: NaN or infinite in the {name} embedding of item {item}, expected finite ones")

    def joined(self, migrated: Tensor, new: Tensor) -> SeenItems:
        """With more items migrated, (M,) and (M, D_new).

        Raises:
            InputError: items that were migrated before, embeddings of another dimension, NaN.
        """
        if new.ndim != 2 or new.shape[1] != self.new.shape[1]:
            raise InputError(f"pairs: shape {tuple(new.shape)}, expected {self.new.shape[1]} columns as before")
        return SeenItems(self.old, torch.cat([self.migrated, migrated]), torch.cat([self.new, new]))


class Baseline(NamedTuple):
    """The upgrade that served before own pairs, as a learner sees it.

    Attributes:
        query_for_old: (N, D_old) and (N, D_new) of images -> the query by them for items that are not migrated.
        prior: its transform, in the direction that it has one.
        passes: of an embedder for each query.
    """

    query_for_old: Queries
    prior: Prior
    passes: int


def baseline(upgrade: Upgrade) -> Baseline:
    """What a learner sees of an upgrade: between the embeddings that it serves, not those of the models."""
    one = upgrade.encoder_passes == 1
    prior = Prior(
        forward=(lambda old: old) if upgrade.transforms_gallery else None,
        back=(lambda new: upgrade.query_for_old(new, new)) if one and not upgrade.transforms_gallery else None,
    )
    return Baseline(upgrade.query_for_old, prior, upgrade.encoder_passes)


class Serving(NamedTuple):
    """How what is not migrated is searched until the next refit.

    Attributes:
        query: (Q, D_old) and (Q, D_new), as the upgrade before serves queries -> (Q, D), compared with `gallery`.
        gallery: (G, D); of migrated items it is not looked at.
        merge: rule of merging; None: raw distances.
        passes: of an embedder for each query.
        rewrites: whether what is not migrated is written anew.
        doubt: mean squared error that is expected of `gallery` as new embeddings; NaN where it does not stand for them.
        failure: why nothing was learned, if learning failed.
        item: what makes `gallery` of the items before their backfill; None: they are searched as they are.
    """

    query: Queries
    gallery: Tensor
    merge: Merge | None
    passes: int
    rewrites: bool = False
    expected_error: float = math.nan
    failure: str = ""
    item: Expected | None = None


def serve_baseline(seen: SeenItems, known: Baseline, failure: str = "") -> Serving:
    """The old path: nothing is changed."""
    return Serving(Query("old"), seen.old, None, known.passes, failure=failure)
