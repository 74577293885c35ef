"""A breaker: where many of the last items failed, it is found out whether they are at fault or the model is.

A model that is broken fails on whatever it is asked, be it by exceptions, NaN or rows of another shape. So it is asked
for items that it has read before, and for items from all over the order: those of one folder that is gone are next to
each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compat.live.canaries import CANARIES, again
from compat.live.extraction import Extracted, Unreachable, extract
from compat.live.items import Journal, Pending, Work
from compat.live.models import Embed
from compat.live.store import Store

LAST = 16  # items of a batch that are looked at by themselves, so that a model that breaks within it is seen
OTHERS = 32  # items that are drawn from the order


class Broken(Unreachable):
    """A model that fails on most of what it is asked: no item is to blame for it."""


def doubtful(work: Sequence[Work], found: Extracted) -> bool:
    """Whether half of a batch failed, or of its last items."""
    dead = {id for id, *_ in found.dead}
    failed = [w.id in dead for w in work]
    return bool(failed) and any(2 * sum(some) >= len(some) for some in (failed, failed[-LAST:]))


def check(store: Store, model: Embed, work: Sequence[Work], found: Extracted, journal: Journal) -> None:
    """Refuse a model that fails on what it has read before, or by this measure on most of the gallery.

    Args:
        store: the store.
        model: as what is migrated is stored.
        work: a batch, claimed by its worker.
        found: what came of it.
        journal: of the migration.

    Raises:
        Broken: it does.
        Unreachable: it does not answer.
    """
    known = again(model, store.sample(CANARIES), "new", journal.distance)
    lost = len(known.drifted) + len(known.unread)
    if 2 * lost > lost + len(known.same):
        raise broken(work, found, f"on {lost} of {lost + len(known.same)} that it had read")
    others = drawn(store, work, journal.items)
    dead, asked = found.dead, work
    if others:
        dead, asked = extract(model, others, dim=journal.new_dim).dead, others
    counts = store.counts()
    if 2 * (counts.failed + counts.pending * len(dead) / len(asked)) > counts.total:
        raise broken(work, found, f"on {len(dead)} of {len(others)} others" if others else "on most of all there are")


def broken(work: Sequence[Work], found: Extracted, where: str) -> Broken:
    """In one line what failed, and why."""
    count = f"{len(found.dead)} of the" if len(found.dead) < len(work) else "all"
    failed = f"it failed on {count} {len(work)} items of a batch ({found.dead[-1][2]}) and {where}"
    return Broken(f"models.new: {failed}, expected a model that reads them")


def drawn(store: Store, work: Sequence[Work], items: int) -> list[Work]:
    """Items that are pending at random places of an order of so many items, without those of a batch."""
    places = np.random.default_rng().integers(0, max(items, 1), OTHERS).tolist()
    found = {item.id: item for place in places for item in store.pending(1, Pending("", 0, "", place - 1))}
    mine = {w.id for w in work}
    return [Work(i.id, i.version, i.content) for i in found.values() if i.id not in mine]
