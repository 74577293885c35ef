"""Operations on the items in Qdrant (experimental) which take more than one request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from compat.engine.exact import Distance
from compat.live.qdrant.connection import READ, WRITE, QdrantConnection, Refused, models
from compat.live.qdrant.points import all_of, has_ids, in_range, matches_any, named_vectors, point_id, stamp

CHUNK = 256  # points of one request
PAGE = 1000
Rows: TypeAlias = Sequence[tuple[str, int, np.ndarray]]


class Points:
    """The collection of the items.

    Args:
        link: connection to it.
    """

    def __init__(self, link: QdrantConnection) -> None:
        self.link, self.items = link, link.collection

    def count(self, some: models.Filter) -> int:
        """Count matching points."""
        return self.link("count", self.items, some, exact=True).count

    def first(self, some: models.Filter, count: int = 1, payload: Any = False) -> list[Any]:
        """Return the first matching points by point id, at most `count`."""
        return self.link("scroll", self.items, some, count, with_payload=payload, **READ)[0] if count else []

    def after(self, some: models.Filter, place: int, id: str | None, count: int) -> list[Any]:
        """Return matching points after a place and an id there, by place."""
        here = models.Filter(must=[some, in_range("place", gte=place, lte=place)])
        found = self.link("scroll", self.items, here, count + 1, offset=id, with_payload=True, **READ)[0]
        found = [record for record in found if record.id != id][:count]
        if len(found) < count:
            later, by_place = models.Filter(must=[some, in_range("place", gt=place)]), models.OrderBy(key="place")
            found += self.link("scroll", self.items, later, count - len(found), by_place, with_payload=True, **READ)[0]
        return found

    def all(self, some: models.Filter, vectors: list[str]) -> Iterator[Any]:
        """Yield all matching points, page by page."""
        after, options = None, {"with_payload": True, "with_vectors": vectors, **READ}
        while True:
            found, after = self.link("scroll", self.items, some, PAGE, offset=after, **options)
            yield from found
            if after is None:
                return

    def for_each(self, some: models.Filter, step: Callable[[list[str]], None]) -> int:
        """Run a step on matching points, at most a chunk, retrying without points deleted meanwhile.

        Returns:
            The number of points.

        Raises:
            Refused: the step failed twice on the same points.
        """
        before: list[str] = []
        while there := [record.id for record in self.first(some, CHUNK)]:
            try:
                step(there)
                break
            except Refused:
                if there == before:
                    raise
                before = there
        met = {*before, *there}
        return len(self.link("retrieve", self.items, list(met), False, **READ)) if before else len(met)

    def write(self, name: str, rows: Rows, distance: Distance, unless: Sequence[Any]) -> int:
        """Write vectors (D,) to items of these ids and versions, those of one id in order.

        Returns:
            The number of vectors written.

        Raises:
            Refused: there are no vectors of this name.
        """
        count = 0
        while rows:
            now: dict[str, tuple[str, int, np.ndarray]] = {}
            later = [row for row in rows if len(now) == CHUNK or now.setdefault(point_id(row[0]), row) is not row]
            these = all_of([matches_any("stamp", *(stamp(id, version) for id, version, _ in now.values()))], unless)

            def step(there: list[str], now: Any = now, these: models.Filter = these) -> None:
                vectors = (named_vectors(name, now[id][2], distance) for id in there)
                points = [models.PointVectors(id=id, vector=v) for id, v in zip(there, vectors, strict=True)]
                self.link("update_vectors", self.items, points, update_filter=these, **WRITE)

            count += self.for_each(models.Filter(must=[has_ids(now), these]), step)
            rows = later
        return count

    def place(self, ids: Sequence[str]) -> None:
        """Number these items by place, and no others."""
        self.link("set_payload", self.items, {"place": -1}, all_of([in_range("place", gte=0)]), **WRITE)
        for start in range(0, len(ids), CHUNK):
            places = {point_id(id): start + n for n, id in enumerate(ids[start : start + CHUNK])}

            def step(there: list[str], places: Mapping[str, int] = places) -> None:
                each = (models.SetPayload(payload={"place": places[id]}, points=[id]) for id in there)
                steps = [models.SetPayloadOperation(set_payload=one) for one in each]
                self.link("batch_update_points", self.items, steps, **WRITE)

            self.for_each(all_of([has_ids(places)]), step)
