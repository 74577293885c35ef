"""Verification of a migration by a sample, with its statistical bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from compat.errors import InputError, at_least_one, whole
from compat.live.canaries import draw_migrated, reembed
from compat.live.items import Counts, Journal
from compat.live.models import Models
from compat.live.serving import StoredModel
from compat.live.store import Store, change_journal

COMPLETE = ("complete", "verified")
RULE = 3  # rule of three: if none of n is wrong, at most 3/n of all are, with 95 % confidence


class Verification(NamedTuple):
    """Result of `Migration.verify`.

    Attributes:
        counts: counts of the items.
        drifted: ids of sampled items which the new model does not reproduce.
        sampled: number of items drawn.
        unread: reasons why some of them could not be read, by id.
        failed_sample: size of the last unsound sample, unless a larger one was sound since; else 0.
    """

    counts: Counts
    drifted: list[str]
    sampled: int
    unread: Mapping[str, str] = MappingProxyType({})
    failed_sample: int = 0

    @property
    def compared(self) -> int:
        """Number of sampled items which could be read."""
        return self.sampled - len(self.unread)

    @property
    def readable(self) -> bool:
        """Whether most of the sample could be read, or the sample is empty."""
        return 2 * len(self.unread) < self.sampled or not self.sampled

    @property
    def bound(self) -> float:
        """Upper bound of the share of wrong items with 95 % confidence, if none of the compared ones is wrong."""
        if self.compared == self.counts.total:
            return 0.0
        return min(RULE / max(self.compared, 1), 1.0)

    @property
    def sound(self) -> bool:
        """Whether all items are migrated, the sample is sound, and no unsound sample is outstanding."""
        return self.counts.new == self.counts.total and self.readable and not self.drifted and not self.failed_sample


def verify(store: Store, models: Models, sample: int) -> Verification:
    """Embed a sample of items again; see `Migration.verify`.

    Raises:
        InputError: a migration which is not complete; a sample below 1; a model which does not answer.
    """
    whole(sample=sample)
    at_least_one(sample=sample)
    journal = store.journal()
    if journal.phase not in COMPLETE:
        raise InputError(f"verify: the store is in phase {journal.phase}, expected a complete migration")
    known = draw_migrated(store, min(sample, store.counts().new))
    read = reembed(StoredModel(models), known, "new", journal.distance, journal.batch)
    found = Verification(store.counts(), read.drifted, len(known), read.unread)

    def record(now: Journal) -> Journal:
        if now.migration != journal.migration or now.phase not in COMPLETE:
            return now
        larger = found.compared > now.failed_sample or found.sampled == found.counts.total
        failed_sample = max(now.failed_sample, found.sampled) if found.drifted else now.failed_sample
        if found.readable and larger and not found.drifted:
            failed_sample = 0
        return replace(
            now,
            phase="verified" if found._replace(failed_sample=failed_sample).sound else "complete",
            failed_sample=failed_sample,
        )

    return found._replace(failed_sample=change_journal(store, record).failed_sample)
