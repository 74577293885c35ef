"""Interfaces of the engines: figures of a whole gallery, or counts added up over its parts."""

from __future__ import annotations

from typing import Protocol, TypeVar

from torch import Tensor

from compat.engine.exact import NOTHING_MORE, EngineGallery, Figures, Positives, Queries, Wanted

Measured = TypeVar("Measured")


class Engine(Protocol):
    """The replay of one gallery.

    Attributes:
        gallery: whole, a part of one or a shard.
        threaded: whether each call runs in one thread with the interpreter free, so chunks go to several threads.
    """

    gallery: EngineGallery
    threaded: bool

    def figures(self, queries: Queries, wanted: Wanted = NOTHING_MORE) -> Figures:
        """Compute the figures of these queries, (S, T, Q), for a whole gallery."""

    def bytes_per_query(self, items: int, width: int) -> int:
        """Return the memory per query for this many items and thresholds, without its ranks."""


class Countable(Engine, Protocol[Measured]):
    """An engine with ranks as counts, which are added over the parts or shards of a gallery.

    Both steps take the result of `measure`, so no distance is computed twice.
    """

    def measure(self, queries: Queries) -> Measured:
        """Compute the input of both steps for these queries."""

    def positives(self, measured: Measured) -> Positives:
        """Return the distances of each query's relevant or judged items in this gallery."""

    def ranks(self, measured: Measured, thresholds: Tensor) -> Tensor:
        """Count the ranked items of this gallery at each threshold or closer.

        Args:
            measured: Q queries.
            thresholds: (Q, W) float32, ascending, padded with infinity.

        Returns:
            (S, T, Q, W) int64.
        """
