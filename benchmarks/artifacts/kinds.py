"""All kinds of artifacts, each by its fields: weights, embeddings, orders, curves. Imports no torch; the makers do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from benchmarks.artifacts.artifact import Artifact
from benchmarks.config.schema import Sees
from benchmarks.config.spec import Spec

Metrics: TypeAlias = tuple[tuple[str, Spec | None], ...]
ELSEWHERE = ("root", "on_error", "verify")  # the digests say what these make of the images
LOADING = ("batch_size", "num_workers", "images_per_class")


@dataclass(frozen=True)
class ImageSet:
    """A dataset by its class, its arguments and digests of its images; where it lies is no part of it.

    Attributes:
        spec: without where the images lie.
        digests: of the training images, the queries and the gallery.
        whole: as the config has it.
    """

    spec: Spec
    digests: tuple[str, ...]
    whole: Spec = field(compare=False)

    @classmethod
    def of(cls, whole: Spec, digests: tuple[str, ...]) -> ImageSet:
        """The dataset of a config, of which `RetrievalData.fingerprint` gives the digests."""
        return cls(whole.without(ELSEWHERE), digests, whole)

    def shown_plainly(self) -> ImageSet:
        """As an extraction depends on them: not on how they are loaded."""
        return ImageSet(self.spec.without(LOADING), self.digests, self.whole)

    def to_train_on(self) -> ImageSet:
        """As a training depends on them: queries and gallery are not looked at."""
        return ImageSet(self.spec, self.digests[:1], self.whole)

    def labels_only(self) -> ImageSet:
        """As what is learned on cached embeddings depends on them: these know how the images were shown."""
        return ImageSet(Spec({"class_path": self.spec.class_path}), self.digests[:1], self.whole)


@dataclass(frozen=True)
class Weights(Artifact):
    """What training one generation gives.

    Attributes:
        model: the embedder and how it learns.
        trainer: without what it only shows.
        seed: of the training, see `training_seed`.
        sees: its part of the training images.
        images: the dataset.
        threads: where the user sets them, as another number gives another training.
        name: of the generation.
        options: the whole Trainer.
    """

    stage: ClassVar[str] = "train"
    maker: ClassVar[str] = "benchmarks.artifacts.weights.train"
    model: Spec
    trainer: Spec
    seed: int
    sees: Sees
    images: ImageSet
    threads: int | None
    name: str = field(compare=False)
    options: Spec = field(compare=False)


@dataclass(frozen=True)
class Loaded(Artifact):
    """A checkpoint's weights.

    Attributes:
        model: the embedder that they are of.
        digest: of the file.
        path: of the file.
        name: of the generation.
    """

    stage: ClassVar[str] = "load"
    maker: ClassVar[str] = "benchmarks.artifacts.weights.read"
    model: Spec
    digest: str
    path: str = field(compare=False)
    name: str = field(compare=False)


@dataclass(frozen=True)
class Extracted(Artifact):
    """What a model makes of a dataset: train, gallery and query (left out where the queries are the gallery).

    Attributes:
        model: the embedder's config.
        of: its weights, or what a method that trained a model of its own has learned.
        images: the dataset.
        name: of the generation or the method.
        options: the Trainer, of which the devices are used.
    """

    stage: ClassVar[str] = "extract"
    model: Spec
    of: Artifact
    images: ImageSet
    name: str = field(compare=False)
    options: Spec = field(compare=False)

    @property
    def maker(self) -> str:  # type: ignore[override]
        """Only the embeddings of a method's own model depend on the code of methods."""
        module = "own_extracted" if isinstance(self.of, MethodState) else "extracted"
        return f"benchmarks.artifacts.{module}.extract"


@dataclass(frozen=True)
class TrainingRecipe:
    """How a method's head, or its whole model, is trained: a recipe with its budget.

    Attributes:
        trainer: without what it only shows.
        seed: of the training.
        model: the plain new model, whose network and recipe a method that trains a model of its own takes.
        batch_size: of a head's batches.
        augmented: train the head through augmented images instead of on cached embeddings.
        threads: where the user sets them.
        options: the whole Trainer.
    """

    trainer: Spec
    seed: int
    model: Spec | None = None
    batch_size: int | None = None
    augmented: bool = False
    threads: int | None = None
    options: Spec | None = field(default=None, compare=False)


@dataclass(frozen=True)
class PlainSystem:
    """A generation's own model.

    Attributes:
        vectors: its embeddings.
        side: those of the side model, which the system has stored beside its own.
    """

    vectors: Extracted
    side: Extracted | None = None


@dataclass(frozen=True)
class OwnSystem:
    """The new model that a method trained itself: its embeddings, which are of what the method learned."""

    vectors: Extracted


@dataclass(frozen=True)
class MethodState(Artifact):
    """The state of a method, without the two frozen models; nothing for one that learns nothing.

    Attributes:
        method: its config.
        old: the system before the upgrade.
        new: the new model that it is learned on.
        images: whose labels it learns from; None if it learns nothing.
        sees: its part of them, which is the new model's.
        saw: the old model's part, where it asks which classes that knew.
        training: of a head or of a new model; None for what is solved or not learned at all.
        name: of the method.
    """

    stage: ClassVar[str] = "learn"
    maker: ClassVar[str] = "benchmarks.artifacts.method_state.learn"
    method: Spec
    old: PlainSystem | ServedSystem
    new: PlainSystem | OwnSystem
    images: ImageSet | None
    sees: Sees | None
    saw: Sees | None
    training: TrainingRecipe | None
    name: str = field(compare=False)


@dataclass(frozen=True)
class Upgraded:
    """An upgrade: a method, and the model that its new space is of.

    Attributes:
        learned: what the method learned.
        new: the plain new model, or the method's own.
    """

    learned: MethodState
    new: PlainSystem | OwnSystem


@dataclass(frozen=True)
class ServedSystem:
    """What an upgrade ends in: the new model, with its embeddings as the method serves them."""

    by: Upgraded


@dataclass(frozen=True)
class Ordering(Artifact):
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
    images: ImageSet
    old: PlainSystem | ServedSystem | None
    upgrade: Upgraded | None
    estimator: Upgraded | None
    progress: tuple[float, ...] | None
    distance: Literal["cosine", "l2"] | None
    name: str = field(compare=False)

    @property
    def maker(self) -> str:  # type: ignore[override]
        """An order that looks at no system does not depend on the code of systems."""
        blind = self.old is None and self.upgrade is None and self.estimator is None
        return f"benchmarks.artifacts.{'blind_orders' if blind else 'orders'}.order"


@dataclass(frozen=True)
class SystemFigures(Artifact):
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
    maker: ClassVar[str] = "benchmarks.artifacts.ends.ends"
    old: PlainSystem
    new: PlainSystem
    images: ImageSet
    distance: Literal["cosine", "l2"]
    metrics: Metrics
    name: str = field(compare=False)


@dataclass(frozen=True)
class Overlap:
    """The upgrade before, where it has not ended when this one starts.

    Attributes:
        first: that upgrade.
        start: its progress then.
        seeds: (S, 3) of the orders of the second one; `Ordering` has those of the first.
    """

    first: Upgraded
    start: float
    seeds: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class ReplayedCurve(Artifact):
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
    maker: ClassVar[str] = "benchmarks.artifacts.curve.replay"
    upgrade: Upgraded
    order: Ordering
    rule: Spec | None
    fits: Sees | None
    progress: tuple[float, ...]
    distance: Literal["cosine", "l2"]
    metrics: Metrics
    images: ImageSet
    before: SystemFigures
    after: SystemFigures
    overlap: Overlap | None
    name: str = field(compare=False)


@dataclass(frozen=True)
class OnlineCurve(ReplayedCurve):
    """The curve of a method that learns from the pairs of the gallery as it is backfilled, on top of an upgrade.

    Attributes:
        learner: its config.
        refit: shares of the gallery at which it is refitted.
    """

    maker: ClassVar[str] = "benchmarks.artifacts.online_curve.replay"
    learner: Spec
    refit: tuple[float, ...]
