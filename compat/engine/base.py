"""What the engines have in common: figures of a whole gallery, or counts that add up over parts of one."""

from __future__ import annotations

from typing import Protocol, TypeVar

from torch import Tensor

from compat.engine.exact import EngineGallery, Figures, Positives, Queries

Measured = TypeVar("Measured")


class Engine(Protocol):
    """The replay of one gallery.

    Attributes:
        gallery: whole, a part of one or a shard.
        threaded: whether calls run in one thread each, with the interpreter free: chunks go to several then.
    """

    gallery: EngineGallery
    threaded: bool

    def figures(self, queries: Queries, ranks: bool = False) -> Figures:
        """The figures of these queries, (S, T, Q), where this gallery is the whole one; with each positive's rank."""

    def bytes_per_query(self, items: int, width: int) -> int:
        """Memory that a query takes: of so many items and thresholds, without its ranks."""


class Countable(Engine, Protocol[Measured]):
    """An engine whose ranks are counts, which are added over the parts or shards of a gallery.

    What `measure` gives is passed on to both steps, so that no distance is computed twice.
    """

    def measure(self, queries: Queries) -> Measured:
        """What both steps need of these queries."""

    def positives(self, measured: Measured) -> Positives:
        """The distances of each query's relevant items of this gallery."""

    def ranks(self, measured: Measured, thresholds: Tensor) -> Tensor:
        """Number of ranked items of this gallery at each threshold or closer.

        Args:
            measured: Q queries.
            thresholds: (Q, W) float32, ascending, padded with infinity.

        Returns:
            (S, T, Q, W) int64.
        """
