"""What an online method may know during a backfill, and how items not migrated are searched until the next refit."""

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
    """The data known at one point of a backfill: the old gallery, and the new embeddings of migrated items.

    Args:
        old: (G, D_old), the whole gallery before its backfill.
        migrated: (N,) rows of the items migrated so far.
        new: (N, D_new), their new embeddings.

    Attributes: the same names, and `before`, (N, D_old), the old embeddings of the migrated items.

    Raises:
        InputError: an item which is not in the gallery or migrated twice, another number of rows than items, NaN.
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
        """Return a copy with more items migrated, (M,) and (M, D_new).

        Raises:
            InputError: items migrated before, embeddings of another dimension, NaN.
        """
        if new.ndim != 2 or new.shape[1] != self.new.shape[1]:
            raise InputError(f"pairs: shape {tuple(new.shape)}, expected {self.new.shape[1]} columns as before")
        return SeenItems(self.old, torch.cat([self.migrated, migrated]), torch.cat([self.new, new]))


class Baseline(NamedTuple):
    """The upgrade which serves before the first fit, as a learner sees it.

    Attributes:
        query_for_old: maps embeddings (N, D_old), (N, D_new) to queries for items not migrated.
        prior: its transform, in the direction in which it has one.
        passes: encoder passes per query.
    """

    query_for_old: Queries
    prior: Prior
    passes: int


def baseline(upgrade: Upgrade) -> Baseline:
    """Return a learner's view of an upgrade: between the embeddings it serves, not those of the models."""
    one = upgrade.encoder_passes == 1
    prior = Prior(
        forward=(lambda old: old) if upgrade.transforms_gallery else None,
        back=(lambda new: upgrade.query_for_old(new, new)) if one and not upgrade.transforms_gallery else None,
    )
    return Baseline(upgrade.query_for_old, prior, upgrade.encoder_passes)


class Serving(NamedTuple):
    """How items not migrated are searched until the next refit.

    Attributes:
        query: maps (Q, D_old) and (Q, D_new), as the baseline serves queries, to (Q, D), compared with `gallery`.
        gallery: (G, D); rows of migrated items are ignored.
        merge: merge rule; None: raw distances.
        passes: encoder passes per query.
        rewrites: whether items not migrated are rewritten.
        expected_error: expected mean squared error of `gallery` as new embeddings; NaN if it is no prediction of them.
        failure: reason why nothing was learned, if learning failed.
        item: map which makes `gallery` from the items before their backfill; None: they are searched unchanged.
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
    """Serve as the baseline does."""
    return Serving(Query("old"), seen.old, None, known.passes, failure=failure)
