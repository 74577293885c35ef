"""Circuit breaker: when many recent items failed, decide whether the items or the model are at fault.

A broken model fails on any input, by exceptions, NaN or rows of the wrong shape. So it is asked for items which it has
read before, and for items from all over the order, since neighbours in the order may share a cause (a lost folder).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from compat.live.canaries import CANARIES, draw_migrated, reembed
from compat.live.extraction import Extraction, Unreachable, extract
from compat.live.items import Counts, Item, Journal, Work
from compat.live.models import Embed
from compat.live.store import Store

LAST = 16  # last items of a batch, checked separately to detect a model which breaks within it
OTHERS = 32  # items drawn from the order


class Broken(Unreachable):
    """A model which fails on most inputs, so no item is to blame."""


def is_suspicious(work: Sequence[Work], found: Extraction) -> bool:
    """Return whether half of a batch failed, or half of its last items."""
    dead = {id for id, *_ in found.failed}
    failed = [w.id in dead for w in work]
    return bool(failed) and any(2 * sum(some) >= len(some) for some in (failed, failed[-LAST:]))


class Witnesses(NamedTuple):
    """Items for which a model is asked besides those of a batch.

    Attributes:
        readable: items which it has read before.
        pending: pending items.
        counts: counts of all items.
    """

    readable: list[Item]
    pending: list[Work]
    counts: Counts


def draw_witnesses(store: Store, work: Sequence[Work], journal: Journal) -> Witnesses:
    """Draw the witnesses for a batch of a migration."""
    return Witnesses(draw_migrated(store, CANARIES), draw_pending(store, work, journal.items), store.counts())


def check_model(model: Embed, work: Sequence[Work], found: Extraction, by: Witnesses, journal: Journal) -> None:
    """Refuse a model which fails on items it has read before, or, by extrapolation, on most of the gallery.

    Args:
        model: the model whose output is stored.
        work: a batch.
        found: the result of the batch.
        by: the witnesses.
        journal: journal of the migration.

    Raises:
        Broken: the model is broken.
        Unreachable: the model does not answer.
    """
    known = reembed(model, by.readable, "new", journal.distance)
    lost = len(by.readable) - len(known.unchanged)
    if 2 * lost > len(by.readable):
        raise broken_model(work, found, f"{lost} of {len(by.readable)} it had read before")
    asked = by.pending or work
    dead = extract(model, by.pending, "new", journal.new_dim).failed if by.pending else found.failed
    if 2 * (by.counts.failed + by.counts.pending * len(dead) / len(asked)) > by.counts.total:
        raise broken_model(work, found, f"{len(dead)} of {len(asked)} pending ones")


def broken_model(work: Sequence[Work], found: Extraction, others: str = "") -> Broken:
    """Make the error for a broken model, with the failures in one line."""
    count = "all" if len(found.failed) == len(work) else f"{len(found.failed)} of the"
    failed = f"it failed on {count} {len(work)} items of a batch ({found.failed[-1][2]})"
    more = f" and on others ({others})" if others else ""
    return Broken(f"models.new: {failed}{more}, expected a model which reads them")


def draw_pending(store: Store, work: Sequence[Work], items: int) -> list[Work]:
    """Draw pending items at random places of an order of `items` items, without those of a batch."""
    places = np.random.default_rng().integers(0, max(items, 1), OTHERS).tolist()
    found = {item.id: item for place in places for item in store.pending(1, Work("", 0, "", place - 1))}
    mine = {w.id for w in work}
    return [Work(i.id, i.version, i.content) for i in found.values() if i.id not in mine]
