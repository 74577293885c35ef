"""A migration: plan, run by workers which may die at any moment, verify, and finalize or roll back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from compat.errors import InputError, not_negative, whole
from compat.live import canaries
from compat.live.canaries import CANARIES
from compat.live.extraction import extract
from compat.live.items import UNDER_WAY, Column, Item, Journal, Work
from compat.live.models import Models
from compat.live.serving import transform_new, transform_old
from compat.live.store import Conflict, Store, change_journal
from compat.live.throttle import repeat_with_pauses
from compat.live.verification import Verification, verify
from compat.live.worker import LEASE, Worker
from compat.methods.upgrade import Upgrade
from compat.orders import Order, OrderGiven, Random
from compat.progress import completion_ratios

OVERTAKEN = "plan: another migration has just been planned, expected none"
BATCH = 2**31 - 1  # maximum batch
READ = {"old gallery", "served old gallery", "uncertainty"}  # needs of orders computed from all old embeddings
PROBED = 8  # items of which the new model must read at least one


@dataclass(frozen=True)
class Migration:
    """The migration of a store to a new model; its state is entirely in the store.

    Args:
        store: the store.
        models: old and new model, and the upgrade between them.

    Raises:
        InputError: other models than those of the migration under way.
    """

    store: Store
    models: Models

    def __post_init__(self) -> None:
        journal = self.store.journal()
        ended = journal.phase == "finalized"  # only the next migration can follow, with its own models
        self.models.check(replace(journal, phase="none") if ended else journal)

    def plan(self, order: Order | None = None, seed: int = 0, batch: int = 256, dual: bool = False) -> Journal:
        """Begin a migration: fix the models and the order in which items are migrated.

        Args:
            order: the order; default: uniformly random.
            seed: seed of the order.
            batch: items per batch.
            dual: whether items written during the migration also get an old embedding, so a rollback has nothing to
                embed.

        Returns:
            The journal.

        Raises:
            InputError: a store without compare-and-set, an empty store, a migration under way, an order with unknown
                needs, a new model which reads none of the first items, or a models.old which does not reproduce the
                stored old embeddings.
        """
        whole(seed=seed, batch=batch)
        not_negative(seed=seed)
        if not 1 <= batch <= BATCH:
            raise InputError(f"batch: {batch}, expected 1 to {BATCH}")
        if "compare and set" not in self.store.capabilities:
            raise InputError(f"store: {type(self.store).__name__} cannot compare and set, expected a store which can")
        if dual and self.models.old is None:
            raise InputError("dual: without an old model, expected models.old")
        before = self.store.journal()
        if before.phase in UNDER_WAY:
            found = f"migration {before.migration} is {before.phase}"
            raise InputError(f"plan: {found}, expected none under way: run, finalize or rollback first")
        order = order or Random()
        if before.phase == "finalized":
            self._check_next(order, before)
            ended, before = before, next_journal(before)
            try:
                self.store.advance(ended, before)
            except Conflict as error:
                raise InputError(OVERTAKEN) from error
        self._sweep()
        gallery = self.store.gallery(old=not READ.isdisjoint(order.needs))
        if len(gallery.ids) == 0:
            raise InputError("store: no item has an old embedding, expected some to migrate")
        order.check(len(gallery.ids))
        rows = np.random.default_rng().integers(0, len(gallery.ids), CANARIES)
        self._check_old((item for row in rows if (item := self.store.get(gallery.ids[row]))), "old", before)
        probe = self._probe(item.content for id in gallery.ids if (item := self.store.get(id)))
        upgrade = self._upgrade(before.dim, probe.shape[1])
        given = self._given(order, upgrade, gallery.old, len(gallery.ids))
        rows = order.orders(given, [(seed,)])[0]
        after = Journal(
            before.dim,
            before.distance,
            before.fields,
            before.migration + 1,
            "planned",
            len(rows),
            transform_new(upgrade, probe).shape[1],
            self.models.fingerprint,
            f"{type(order).__name__} {seed}",
            int(batch),
            before.rate,
            before.latency,
            dual=dual,
            generation=before.generation,
            store=before.store,
        )
        return self._begin([gallery.ids[row] for row in rows], before, after)

    def _begin(self, ids: Sequence[str], before: Journal, after: Journal) -> Journal:
        """Set the order; retry if only the speed limits changed meanwhile."""
        while True:
            try:
                self.store.place(ids, before, after)
            except Conflict as error:
                now = self.store.journal()
                if replace(now, rate=None, latency=None) != replace(before, rate=None, latency=None) or now == before:
                    raise InputError(OVERTAKEN) from error
                before, after = now, replace(after, rate=now.rate, latency=now.latency)
                continue
            return after

    def run(
        self, until: float = 1.0, on_batch: Callable[[int, int], None] | None = None, lease: float = LEASE
    ) -> Journal:
        """Migrate items until none is left; see `Worker` for the arguments."""
        return Worker(self.store, self.models, lease, on_batch).run(until)

    def rollback(self) -> Journal:
        """Return to the old system: embed items without an old embedding, then drop all new embeddings at once.

        A migration which was only planned is abandoned in one step.

        Raises:
            InputError: nothing to roll back; items without an old embedding, and models.old is missing, cannot read
                them or is not the store's model.
        """
        journal = self.store.journal()
        if journal.phase not in UNDER_WAY:
            raise InputError(f"rollback: the store is in phase {journal.phase}, expected a migration under way")
        if self.models.old is None:
            self._restore(journal)
        self._check_old(canaries.draw_migrated(self.store, CANARIES), "old", journal)

        def going_back(now: Journal) -> Journal:
            begun = now.migration == journal.migration and now.phase in UNDER_WAY
            return replace(now, phase="rolling_back") if begun and now.phase != "planned" else now

        while True:
            before = change_journal(self.store, going_back)
            if (before.migration, before.phase) == (journal.migration, "rolled_back"):
                return before
            if before.migration != journal.migration or before.phase not in ("planned", "rolling_back"):
                raise InputError(
                    f"rollback: migration {before.migration} is {before.phase} meanwhile, expected to roll back"
                    f" {journal.migration}"
                )
            after = replace(before, phase="rolled_back", bridged=False, learned=0, note="")
            try:
                self._restore(before)
                self.store.revert(before, after)
            except Conflict:
                continue
            self._sweep()
            return after

    def _restore(self, journal: Journal) -> None:
        """Embed the items without an old embedding with the old model."""
        while work := self.store.without_old(journal.batch):
            if self.models.old is None:
                raise InputError(f"rollback: item {work[0].id!r} has no old embedding, expected models.old to make it")
            found = extract(self.models.old, work, "old")
            if found.failed:
                id, _, why = found.failed[0]
                raise InputError(f"rollback: item {id!r} ({why}), expected the old model to read it; or delete it")
            self.store.fill("old", found.done, journal)

    def verify(self, sample: int = 300) -> Verification:
        """Check that all items are migrated and that the new model reproduces a sample of them.

        A sound result allows `finalize`. A failed one is remembered until a larger sample, or all items, are sound.

        Args:
            sample: number of items to embed again; if none of n is wrong, at most a share of 3/n of all items is, with
                95 % confidence.

        Raises:
            InputError: a migration which is not complete; a sample below 1; a model which does not answer.
        """
        return verify(self.store, self.models, sample)

    def finalize(self) -> Journal:
        """Drop all old embeddings; a rollback is no longer possible.

        Raises:
            InputError: a migration which is not verified; items which are not migrated.
        """
        counts, before = self.store.counts(), self.store.journal()
        if before.phase != "verified" or before.failed_sample:
            expected, size = "a verified migration: run, then verify", before.failed_sample
            if size:
                expected += f", with a sample of more than {size}, as one of {size} was not sound"
            raise InputError(f"finalize: the store is in phase {before.phase}, expected {expected}")
        if counts.new < counts.total:
            missing = f"{counts.pending} pending items and {counts.failed} failed items"
            raise InputError(f"finalize: {missing}, expected all items migrated")
        after = replace(before, phase="finalized", bridged=False, learned=0, dual=False)
        try:
            self.store.drop_old(before, after)
        except Conflict as error:
            raise InputError("finalize: the store has just changed, expected a verified migration") from error
        self._sweep()
        return after

    def _sweep(self) -> None:
        """Delete unused vectors, pausing for users' writes. If it is cut short, the next plan continues."""
        repeat_with_pauses(self.store.sweep)

    def _check_next(self, order: Order, finalized: Journal) -> None:
        """Refuse arguments of the next migration while the store still serves the finalized one."""
        known, items = self.store.sample(CANARIES), self.store.counts().total
        if not known:
            raise InputError("store: no item has an embedding, expected some to migrate")
        order.check(items)
        self._check_old(known, "new", finalized)
        probe = self._probe(item.content for item in known)
        upgrade = self._upgrade(finalized.new_dim, probe.shape[1])
        given = self._given(order, upgrade, np.stack([item.new for item in known if item.new is not None]), items)
        for need in order.needs:
            _ = need == "a file" or given[need]

    def _upgrade(self, dim: int, new_dim: int) -> Upgrade:
        """Return the models' upgrade after checking its dimensions."""
        upgrade = self.models.upgrade_for(dim, new_dim)
        found = upgrade.old.project.out_features, upgrade.new.project.out_features
        if found != (dim, new_dim):
            raise InputError(f"models.upgrade: from {found[0]} to {found[1]} dimensions, expected {dim} to {new_dim}")
        return upgrade

    def _given(self, order: Order, upgrade: Upgrade, rows: np.ndarray, items: int) -> OrderGiven:
        """Make the inputs of an order from old embeddings (N, D_old): of the gallery, or of some rows to check them."""
        old = torch.from_numpy(rows.copy())
        values = {
            "old gallery": lambda: old,
            "served old gallery": lambda: transform_old(upgrade, rows) if upgrade.transforms_gallery else old,
            "old classifier": lambda: old_classifier(order, upgrade),
            "uncertainty": lambda: upgrade.uncertainty(old),
        }
        points, distance = completion_ratios(11), self.models.distance
        return OrderGiven(order.needs, values, type(order).__name__, items=items, progress=points, distance=distance)

    def _check_old(self, items: Iterable[Item], column: Column, journal: Journal) -> None:
        """Refuse an old model which does not reproduce most of some stored items."""
        if self.models.old is None:
            return
        known = [item for item in items if getattr(item, column) is not None]
        canaries.check_model(self.models.old, known, column, journal.distance, "old", "the model of the store")

    def _probe(self, contents: Iterable[str]) -> np.ndarray:
        """Embed the first content which the new model reads, (1, D_new)."""
        tried, why, wrong = 0, "", None
        for content in itertools.islice(contents, PROBED):
            tried += 1
            found = extract(self.models.new, [Work("", 0, content)])
            if found.done:
                return found.done[0][2][None]
            why, wrong = found.failed[0][2], found.wrong or wrong
        if wrong is not None:
            raise wrong
        raise InputError(f"models.new: it reads none of the first {tried} items ({why}), expected one which reads them")


def next_journal(finalized: Journal) -> Journal:
    """Make the journal with which the next migration begins: new embeddings become the old ones."""
    dim, generation = finalized.new_dim, finalized.migration
    return replace(finalized, phase="none", dim=dim, new_dim=0, dual=False, generation=generation)


def old_classifier(order: Order, upgrade: Upgrade) -> nn.Module:
    """Return the classifier of the old model.

    Raises:
        InputError: the old model has none.
    """
    if (found := upgrade.old.classifier) is None:
        raise InputError(f"order: {type(order).__name__}, but the old model has no classifier, expected one")
    return found
