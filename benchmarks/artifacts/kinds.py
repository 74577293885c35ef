"""All kinds of artifacts, each by its fields: weights, embeddings, orders, curves. Imports no torch; the makers do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from benchmarks.artifacts.artifact import Artifact
from benchmarks.config.spec import Spec
from compat.share import Share

Metrics: TypeAlias = tuple[tuple[str, Spec | None], ...]
ELSEWHERE = ("root", "on_error", "verify")  # the digests cover their effect on the images
LOADING = ("batch_size", "num_workers", "images_per_class")


@dataclass(frozen=True)
class ImageSet:
    """A dataset identified by its class, its arguments and digests of its images, not by its location.

    Attributes:
        spec: without the images' location.
        digests: of the training images, the queries and the gallery.
        whole: as in the config.
    """

    spec: Spec
    digests: tuple[str, ...]
    whole: Spec = field(compare=False)

    @classmethod
    def of(cls, whole: Spec, digests: tuple[str, ...]) -> ImageSet:
        """Return the dataset of a config, with the digests from `RetrievalData.fingerprint`."""
        return cls(whole.without(ELSEWHERE), digests, whole)

    def shown_plainly(self) -> ImageSet:
        """Return the part an extraction depends on: without loading options."""
        return ImageSet(self.spec.without(LOADING), self.digests, self.whole)

    def to_train_on(self) -> ImageSet:
        """Return the part a training depends on: without queries and gallery."""
        return ImageSet(self.spec, self.digests[:1], self.whole)

    def labels_only(self) -> ImageSet:
        """Return the part a training on cached embeddings depends on; their own key covers the transforms."""
        return ImageSet(Spec({"class_path": self.spec.class_path}), self.digests[:1], self.whole)


@dataclass(frozen=True)
class Weights(Artifact):
    """Weights from training one generation.

    Attributes:
        model: the embedder with its loss and optimizer.
        trainer: without display options.
        seed: of the training, see `training_seed`.
        sees: its part of the training images.
        images: the dataset.
        threads: if set by the user, as their number changes a training.
        name: of the generation.
        options: the whole Trainer.
    """

    stage: ClassVar[str] = "train"
    maker: ClassVar[str] = "benchmarks.artifacts.weights.train"
    model: Spec
    trainer: Spec
    seed: int
    sees: Share
    images: ImageSet
    threads: int | None
    name: str = field(compare=False)
    options: Spec = field(compare=False)


@dataclass(frozen=True)
class FrozenFeatures(Artifact):
    """A frozen backbone's features of a dataset: train, gallery and query (left out where the queries are the gallery).

    Attributes:
        model: the embedder's config, of which the backbone alone.
        images: the dataset.
        name: of the generation.
        options: the Trainer; its devices are used.
    """

    stage: ClassVar[str] = "features"
    maker: ClassVar[str] = "benchmarks.artifacts.projected.features"
    model: Spec
    images: ImageSet
    name: str = field(compare=False)
    options: Spec = field(compare=False)


@dataclass(frozen=True)
class Projected(Weights):
    """Weights from training one generation's projection and classifier on its frozen backbone's features.

    Attributes:
        features: of the images.
    """

    maker: ClassVar[str] = "benchmarks.artifacts.projected.train"
    features: FrozenFeatures


@dataclass(frozen=True)
class Loaded(Artifact):
    """Weights from a checkpoint.

    Attributes:
        model: their embedder.
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
    """A model's embeddings of a dataset: train, gallery and query (left out where the queries are the gallery).

    Attributes:
        model: the embedder's config.
        of: its weights, or the state of a method with a model of its own.
        images: the dataset.
        name: of the generation or the method.
        options: the Trainer; its devices are used.
    """

    stage: ClassVar[str] = "extract"
    model: Spec
    of: Artifact
    images: ImageSet
    name: str = field(compare=False)
    options: Spec = field(compare=False)

    @property
    def maker(self) -> str:  # type: ignore[override]
        """Separate makers: only the embeddings of a method's own model depend on the code of methods."""
        module = "own_extracted" if isinstance(self.of, MethodState) else "extracted"
        module = "projected" if isinstance(self.of, Projected) else module
        return f"benchmarks.artifacts.{module}.extract"


@dataclass(frozen=True)
class TrainingRecipe:
    """The training recipe, with its budget, of a method's head or own model.

    Attributes:
        trainer: without display options.
        seed: of the training.
        model: the plain new model, whose network and recipe are copied by a method with a model of its own.
        batch_size: of a head's batches.
        augmented: train the head through augmented images instead of on cached embeddings.
        threads: if set by the user.
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
        side: those of the side model, stored beside its own.
    """

    vectors: Extracted
    side: Extracted | None = None


@dataclass(frozen=True)
class OwnSystem:
    """The new model trained by a method itself: its embeddings, which depend on the method's state."""

    vectors: Extracted


@dataclass(frozen=True)
class MethodState(Artifact):
    """The state of a method, without the two frozen models; empty for a method without training.

    Attributes:
        method: its config.
        old: the system before the upgrade.
        new: the new model it is trained on, or what another method serves in its place.
        images: the dataset of its training labels; None without training.
        sees: its part of them, the new model's.
        saw: the old model's part, if the method needs the old model's classes.
        training: of a head or of a new model; None for closed forms and methods without training.
        name: of the method.
    """

    stage: ClassVar[str] = "learn"
    maker: ClassVar[str] = "benchmarks.artifacts.method_state.learn"
    method: Spec
    old: PlainSystem | ServedSystem | OldEnd
    new: PlainSystem | OwnSystem | ServedSystem
    images: ImageSet | None
    sees: Share | None
    saw: Share | None
    training: TrainingRecipe | None
    name: str = field(compare=False)


@dataclass(frozen=True)
class Upgraded:
    """An upgrade: a method, and the model of its new space.

    Attributes:
        learned: the method's state.
        new: the plain new model, or the method's own.
    """

    learned: MethodState
    new: PlainSystem | OwnSystem | ServedSystem

    @property
    def transforms_gallery(self) -> bool:
        """Whether all old items are rewritten when the backfill starts, by the method or by the one under it."""
        old = self.learned.old
        own = bool(self.learned.method.declared("transforms_gallery", False))
        return own or (isinstance(old, OldEnd) and old.of.transforms_gallery)


@dataclass(frozen=True)
class ServedSystem:
    """The final system of an upgrade: the new model, with its embeddings as served by the method."""

    by: Upgraded


@dataclass(frozen=True)
class OldEnd:
    """The system before an upgrade, with its embeddings as served by the method at completion ratio 0."""

    of: Upgraded


@dataclass(frozen=True)
class Ordering(Artifact):
    """Permutations of the gallery, (S, G).

    Attributes:
        order: its config.
        seeds: (S, 2) of the random orders.
        images: the dataset.
        old: the system before the upgrade, if the order needs it.
        upgrade: if it needs served embeddings.
        estimator: the method whose uncertainty it uses.
        progress: completion ratios, if it needs them.
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
        """Separate makers: an order without a system does not depend on the code of systems."""
        blind = self.old is None and self.upgrade is None and self.estimator is None
        return f"benchmarks.artifacts.{'blind_orders' if blind else 'orders'}.order"


@dataclass(frozen=True)
class SystemFigures(Artifact):
    """Figures of the old and the new system on their own, and the queries answered correctly by the old one.

    Attributes:
        old: the old model.
        new: the new model.
        images: the dataset.
        distance: of the retrieval.
        metrics: further ones by name; None: those of CURVE_METRICS.
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
    """The previous upgrade, unfinished at the start of this one.

    Attributes:
        first: the previous upgrade.
        start: its progress at that moment.
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
        order: of the backfill.
        rule: of merging; None: raw distances.
        fits: the training images for fitting a rule; None for raw distances.
        progress: completion ratios.
        distance: of the retrieval.
        metrics: further ones by name; None: those of CURVE_METRICS.
        images: the dataset.
        before: the systems whose old one is the reference.
        after: the systems whose new one is the reference.
        overlap: with the previous upgrade.
        name: of the method and its axes.
    """

    stage: ClassVar[str] = "replay"
    maker: ClassVar[str] = "benchmarks.artifacts.curve.replay"
    upgrade: Upgraded
    order: Ordering
    rule: Spec | None
    fits: Share | None
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
    """The curve of an online method, trained on the gallery's pairs during the backfill, on top of an upgrade.

    Attributes:
        learner: its config.
        refit: shares of the gallery at which it is refitted.
    """

    maker: ClassVar[str] = "benchmarks.artifacts.online_curve.replay"
    learner: Spec
    refit: tuple[float, ...]
