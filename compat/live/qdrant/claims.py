"""Claims of items in Qdrant (experimental) without transactions: offer, take under a condition, read back."""

from __future__ import annotations

import time

from compat.live.items import Work
from compat.live.process import is_dead
from compat.live.qdrant.connection import READ, WRITE, QdrantConnection, models
from compat.live.qdrant.points import all_of, has_ids, in_range, is_missing, matches_any

MANY = 100_000  # maximum number of items claimed by all workers


def release(link: QdrantConnection, worker: str, due: models.Filter) -> None:
    """Release a worker's claims of items not migrated."""
    its = models.Filter(must=[due, matches_any("worker", worker)])
    link("delete_payload", link.collection, ["worker", "until"], its, **WRITE)


def count_claims(link: QdrantConnection, due: models.Filter) -> dict[str, tuple[int, float]]:
    """Return each worker's number of claimed pending items and seconds until its first claim ends."""
    held, now, found = all_of([due], [is_missing("until")]), time.time(), dict[str, tuple[int, float]]()
    for record in link("scroll", link.collection, held, MANY, with_payload=["worker", "until"], **READ)[0]:
        name, until = record.payload["worker"], record.payload["until"]
        count, first = found.get(name, (0, until - now))
        found[name] = count + 1, min(first, until - now)
    return found


def claim(link: QdrantConnection, worker: str, due: models.Filter, count: int, lease: float) -> list[Work]:
    """Claim the first free pending items for a worker; fewer if others claim some at the same moment."""
    now = time.time()
    dead = [name for name in count_claims(link, due) if is_dead(name)]
    free = models.Filter(should=[is_missing("until"), in_range("until", lte=now), matches_any("worker", *dead)])
    by_place = models.OrderBy(key="place")
    offered = models.Filter(must=[due, free])
    found = link("scroll", link.collection, offered, count, by_place, with_payload=False, **READ)[0]
    if not found:
        return []
    ids, until = [record.id for record in found], now + lease
    taken = models.Filter(must=[has_ids(ids), due, free])
    link("set_payload", link.collection, {"worker": worker, "until": until}, taken, **WRITE)
    records = link("retrieve", link.collection, ids, True, **READ)
    mine = [r.payload for r in records if (r.payload.get("worker"), r.payload.get("until")) == (worker, until)]
    mine.sort(key=lambda payload: (payload["place"], payload["seq"]))
    return [Work(payload["id"], payload["version"], payload["content"]) for payload in mine]
