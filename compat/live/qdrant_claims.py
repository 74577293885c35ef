"""Which items of a Qdrant a worker may extract next, without transactions: offered, taken under a condition, read."""

from __future__ import annotations

import time

from compat.live.items import Work
from compat.live.qdrant_link import READ, WRITE, Link, models
from compat.live.qdrant_points import are, is_one, lacks, where, within
from compat.live.sqlite_file import is_dead

MANY = 100_000  # items that are claimed at a time, by all


def claimed(link: Link, worker: str, due: models.Filter, count: int, lease: float) -> list[Work]:
    """The first items that are due and free, now this worker's; fewer if others took some at the same moment."""
    now = time.time()
    others = where([within("until", gt=now)], [is_one("worker", worker)])
    holders = link("scroll", link.collection, others, MANY, with_payload=["worker"], **READ)[0]
    dead = {name for record in holders if is_dead(name := record.payload["worker"])}
    free = models.Filter(should=[lacks("until"), within("until", lte=now), is_one("worker", worker, *dead)])
    by_place = models.OrderBy(key="place")
    offered = models.Filter(must=[due, free])
    found = link("scroll", link.collection, offered, count, by_place, with_payload=False, **READ)[0]
    if not found:
        return []
    ids, until = [record.id for record in found], now + lease
    taken = models.Filter(must=[are(ids), due, free])
    link("set_payload", link.collection, {"worker": worker, "until": until}, taken, **WRITE)
    records = link("retrieve", link.collection, ids, True, **READ)
    mine = [r.payload for r in records if (r.payload.get("worker"), r.payload.get("until")) == (worker, until)]
    mine.sort(key=lambda payload: (payload["place"], payload["seq"]))
    return [Work(payload["id"], payload["version"], payload["content"]) for payload in mine]
