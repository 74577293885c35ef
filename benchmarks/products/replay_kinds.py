"""What a replay makes of systems and upgrades: orders, ends, curves. Imports no torch; the makers are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from benchmarks.experiment.schema import Sees
from benchmarks.experiment.spec import Spec
from benchmarks.products.base import Product
from benchmarks.products.kinds import Images, Plain, Served, Upgraded

Metrics: TypeAlias = tuple[tuple[str, Spec | None], ...]


@dataclass(frozen=True)
class Ordered(Product):
    """Permutations of the gallery, (S, G).

    Attributes:
        order: its config.
        seeds: (S, 2) of the random orders.
        images: the dataset.
        old: the system before the upgrade, where the order looks at it.
        upgrade: where it looks at what is served.
        estimator: whose uncertainty it goes by.
        progress: completion ratios, where it looks at them.
        distance: of the retrieval, likewise.
        name: of the order.
    """

    stage: ClassVar[str] = "order"
    order: Spec
    seeds: tuple[tuple[int, int], ...]
    images: Images
    old: Plain | Served | None
    upgrade: Upgraded | None
    estimator: Upgraded | None
    progress: tuple[float, ...] | None
    distance: Literal["cosine", "l2"] | None
    name: str = field(compare=False)

    @property
    def maker(self) -> str:  # type: ignore[override]
        """An order that looks at no system does not depend on the code of systems."""
        blind = self.old is None and self.upgrade is None and self.estimator is None
        return f"benchmarks.products.{'blind_order' if blind else 'ordered'}.order"


@dataclass(frozen=True)
class Ends(Product):
    """The systems before and after an upgrade on their own: their figures, and which queries the old one gets right.

    Attributes:
        old: the old model.
        new: the new model.
        images: the dataset.
        distance: of the retrieval.
        metrics: further ones by name; None: that of CURVE_METRICS.
        name: of the upgrade.
    """

    stage: ClassVar[str] = "ends"
    maker: ClassVar[str] = "benchmarks.products.ends.ends"
    old: Plain
    new: Plain
    images: Images
    distance: Literal["cosine", "l2"]
    metrics: Metrics
    name: str = field(compare=False)


@dataclass(frozen=True)
class Overlap:
    """The upgrade before, where it has not ended when this one starts.

    Attributes:
        first: that upgrade.
        start: its progress then.
        seeds: (S, 3) of the orders of the second one; `Ordered` has those of the first.
    """

    first: Upgraded
    start: float
    seeds: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Replayed(Product):
    """The backfill curve of one upgrade in one order under one merge rule.

    Attributes:
        upgrade: the method and its systems.
        order: in which the gallery is backfilled.
        rule: of merging; None: raw distances.
        fits: the training images that a rule is fitted on; None for raw distances.
        progress: completion ratios.
        distance: of the retrieval.
        metrics: further ones by name; None: that of CURVE_METRICS.
        images: the dataset.
        before: the systems whose old one the curve is compared with.
        after: those whose new one it is.
        overlap: with the upgrade before.
        name: of the method and its axes.
    """

    stage: ClassVar[str] = "replay"
    maker: ClassVar[str] = "benchmarks.products.replayed.replay"
    upgrade: Upgraded
    order: Ordered
    rule: Spec | None
    fits: Sees | None
    progress: tuple[float, ...]
    distance: Literal["cosine", "l2"]
    metrics: Metrics
    images: Images
    before: Ends
    after: Ends
    overlap: Overlap | None
    name: str = field(compare=False)


@dataclass(frozen=True)
class OnTheWay(Replayed):
    """The curve of a method that learns from the pairs of the gallery as it is backfilled, on top of an upgrade.

    Attributes:
        learner: its config.
        refit: shares of the gallery at which it is refitted.
    """

    maker: ClassVar[str] = "benchmarks.products.on_the_way.replay"
    learner: Spec
    refit: tuple[float, ...]
