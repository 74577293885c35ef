"""Serving during a migration: the functions of the replay applied to a store's state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compat.errors import InputError
from compat.experience.fits import Fit, load
from compat.experience.seen import SeenItems, Serving, baseline, serve_baseline
from compat.live.items import Column, Journal, StoredGallery
from compat.live.models import Embed, Models, embed, passing
from compat.live.query_sample import QuerySample
from compat.live.store import Conflict, Store
from compat.merge import Merge, QueryZScore
from compat.methods.upgrade import Upgrade, through


@dataclass(frozen=True)
class ServingPlan:
    """How queries are served in a phase of a migration.

    Attributes:
        query: maps embeddings of both models (Q, D_old), (Q, D_new) to queries for the old and the new part; inputs of
            a model which is not needed are zeros.
        passes: models through which a query passes.
        column: column by which the old part is searched.
        merge: merge rule.
        sample: sample of migrated items, if the rule standardises by one.
    """

    query: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    passes: tuple[str, ...]
    column: Column
    merge: Merge
    sample: QuerySample | None = None


def serving_plan(store: Store, models: Models, journal: Journal) -> ServingPlan:
    """Return the current serving plan, with the stored fit of an online method if there is one.

    Raises:
        InputError: a fit is missing from the store.
        Conflict: the store's serving plan has changed.
    """
    upgrade = models.upgrade_for(journal.dim, journal.new_dim)
    column: Column = "bridge" if journal.bridged else "old"
    if journal.learned == 0:
        passes = ("new",) if upgrade.encoder_passes == 1 else ("old", "new")
        rule, sample = models.merge, None
        if isinstance(rule, QueryZScore):
            sample = QuerySample(store, rule, lambda old: search_vectors(upgrade, old), journal)
        return ServingPlan(upgrade.query, passes, column, rule, sample)
    if (fit := load_fit(store, models, journal)) is None:
        if store.journal().serving_key != journal.serving_key:
            raise Conflict
        found = f"none of migration {journal.migration} at {journal.learned} items"
        raise InputError(f"fit: {found}, expected one stored by a worker: run the migration, or roll it back")

    def query(old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        served = upgrade.query(old, new)
        return fit.query(*served), served[1]

    passes = ("new",) if fit.passes == 1 else ("old", "new")
    return ServingPlan(query, passes, column, models.merge if fit.merge is None else fit.merge)


def load_fit(store: Store, models: Models, journal: Journal) -> Fit | None:
    """Load the fit of an online method at a journal's state; None if it is not stored."""
    content = store.fit(journal)
    return None if content is None else load(content, baseline(models.upgrade_for(journal.dim, journal.new_dim)))


def refit(gallery: StoredGallery, models: Models, journal: Journal) -> Serving:
    """Fit an online method to the pairs among the first `journal.learned` items of the order.

    Rewritten, deleted and failed items are no pairs.

    Args:
        gallery: gallery of the store, with new embeddings.
        models: models of the migration.
        journal: journal of the store.
    """
    assert models.learner is not None
    upgrade = models.upgrade_for(journal.dim, journal.new_dim)
    first = (gallery.place >= 0) & (gallery.place < journal.learned) & ~np.isnan(gallery.new).any(1)
    rows = first.nonzero()[0]
    rows = torch.from_numpy(rows[np.argsort(gallery.place[rows])])
    seen = SeenItems(search_vectors(upgrade, gallery.old), rows, torch.from_numpy(gallery.new)[rows])
    known = baseline(upgrade)
    return copy.deepcopy(models.learner).refit(seen, known) if len(rows) else serve_baseline(seen, known)


def search_vectors(upgrade: Upgrade, old: np.ndarray) -> Tensor:
    """Return the vectors by which old embeddings (N, D_old) are searched before their backfill."""
    return transform_old(upgrade, old) if upgrade.transforms_gallery else torch.from_numpy(old)


def transform_old(upgrade: Upgrade, old: np.ndarray) -> Tensor:
    """Transform old embeddings (N, D_old) to the vectors which a method serves before their backfill, (N, D)."""
    blank = torch.zeros(len(old), upgrade.new.project.out_features)
    return through(upgrade.gallery, torch.from_numpy(old.copy()), blank)[0]


def transform_new(upgrade: Upgrade, new: np.ndarray) -> np.ndarray:
    """Transform new embeddings (N, D_new) to the vectors which a method serves after their backfill, (N, D)."""
    blank = torch.zeros(len(new), upgrade.old.project.out_features)
    return through(upgrade.gallery, blank, torch.from_numpy(new.copy()))[1].numpy()


class StoredModel:
    """A new model whose output is in the form in which vectors are stored.

    Args:
        models: models of the migration.
    """

    def __init__(self, models: Models) -> None:
        self.models, self.version, self.passing = models, models.new.version, passing(models.new)

    def __call__(self, contents: Sequence[str]) -> np.ndarray:
        dim = None if self.models.upgrade is None else self.models.upgrade.new.project.out_features
        return self.stored(embed(self.models.new, contents, "new", dim))

    def stored(self, rows: np.ndarray) -> np.ndarray:
        """Convert embeddings of the new model (N, D_new) to the stored form (N, D)."""
        return rows if self.models.upgrade is None else transform_new(self.models.upgrade, rows)


def new_model(models: Models, journal: Journal) -> Embed:
    """Return the model which reproduces the stored new embeddings.

    After a migration a process may already have the models of the next one, whose old model is the one asked for.
    """
    known = journal.fingerprint.get("new")
    if journal.phase == "finalized" and models.old is not None and models.new.version != known == models.old.version:
        return models.old
    return StoredModel(models)


def old_model(models: Models, journal: Journal) -> Embed:
    """Return the model which reproduces the stored old embeddings.

    Between two migrations it is the new model of the finished one, so a process with its models can serve until the
    next one runs.

    Raises:
        InputError: it is not among these models.
    """
    known = journal.fingerprint.get("new" if journal.phase == "none" else "old")
    if models.old is not None and known in (None, models.old.version):
        return models.old
    if known == models.new.version:
        return StoredModel(models)
    found = "none" if models.old is None else models.old.version
    raise InputError(f"models.old: {found}, expected {known or 'one'}, as the store is in phase {journal.phase}")
