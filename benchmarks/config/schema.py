"""The typed config of an experiment. Imports no torch: the classes it names are `Spec`s, not yet built."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from benchmarks.config.spec import Spec
from compat.curve_metrics import USUAL
from compat.share import Share


@dataclass(frozen=True)
class Generation:
    """One generation of the model.

    Args:
        model: the embedder with its loss and optimizer (compat.methods.SingleModel unless class_path says otherwise).
        trainer: any argument of Lightning's Trainer; one device by default.
        sees: its part of the training data; default all.
        seed: of the weights, the order of the images and their augmentation; null: trained once for each seed of the
            experiment, with this seed.
        checkpoint: weights to use instead of training (.safetensors, .ckpt or .pt).
        frozen: keep the backbone as it is built, so with pretrained weights, its normalisation's statistics included.
            Only the projection and the classifier are trained, on features that are extracted once, of images without
            augmentation.
    """

    model: Spec
    trainer: Spec
    sees: Share = field(default_factory=Share)
    seed: int | None = 0
    checkpoint: str | None = None
    frozen: bool = False


@dataclass(frozen=True)
class Heads:
    """The training of the methods' heads: the same for all methods.

    Args:
        trainer: any argument of Lightning's Trainer.
        batch_size: of cached embeddings, or of images; even, since batches hold pairs of a class.
        images: train through augmented images instead of on cached embeddings (slow).
        sees: the part of the training data for heads; default the new model's. Methods with a new model of their own
            always use the new model's part.
    """

    trainer: Spec
    batch_size: int = 1024
    images: bool = False
    sees: Share | None = None


RANDOM, RAW = Spec({"class_path": "compat.orders.Random"}), Spec({"class_path": "compat.merge.Raw"})
REFIT = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8]


@dataclass(frozen=True)
class Replay:
    """The replay of the backfill. A field with a label is an axis, along which each method is replayed.

    Args:
        progress: completion ratios in [0, 1], or their number, evenly spaced.
        orders: random orders of the gallery for each seed; the lists of a result are means over them.
        distance: cosine, or l2 between the raw embeddings.
        by: name -> class_path and init_args of an order (`compat.orders`); default: random alone.
        merge: name -> class_path and init_args of a merge rule (`compat.merge`); default: raw distances alone. Each
            method is replayed in each order under each rule.
        metrics: further ones beside mAP, CMC@1, CMC@5 and negative flips: a list of names of
            `compat.curve_metrics.CURVE_METRICS`, or name -> class_path and init_args of a `CurveMetric` (null: the one
            of CURVE_METRICS); default: `compat.curve_metrics.USUAL`.
        refit: shares of the gallery at which online methods (`compat.experience`) are refitted.
    """

    progress: int | list[float] = 11
    orders: int = 5
    distance: Literal["cosine", "l2"] = "cosine"
    by: dict[str, Spec] = field(default_factory=lambda: {"random": RANDOM}, metadata={"label": "order"})
    merge: dict[str, Spec] = field(default_factory=lambda: {"raw": RAW}, metadata={"label": "merge"})
    metrics: dict[str, Spec | None] = field(default_factory=lambda: dict.fromkeys(USUAL))
    refit: list[float] = field(default_factory=lambda: REFIT)


@dataclass(frozen=True)
class Experiment:
    """One benchmark: train each generation of the model and each method's head, replay the backfill.

    Args:
        name: of the benchmark, and of its folder under `results`.
        data: the dataset.
        heads: the training of the methods' heads.
        methods: name -> class_path and init_args of a method, or a file of them.
        generations: the generations of the model by name, oldest first; from each to the next there is an upgrade. A
            config lists their names (default: old, new), and has each under its name.
        starts: with three generations or more, the progress of an upgrade at the start of the next one, one replay for
            each; 1 is one after the other, less leaves items of three generations in the gallery.
        side: a model trained on the oldest model's data, whose embeddings the old system stores beside its own: the
            side-information used by some methods.
        replay: the replay of the backfill.
        seed: of the heads and of the orders; a list runs one after the other.
        only: the methods to run, comma-separated; default all.
        runs: folder of checkpoints, embeddings and logs (git-ignored); finished artifacts are reused.
        results: folder of the results.
        queries: keep figures of each query beside the results, for comparing rows; they take some space.
    """

    name: str
    data: Spec
    heads: Heads
    methods: dict[str, Spec]
    generations: dict[str, Generation]
    starts: list[float] = field(default_factory=lambda: [1.0, 0.5])
    side: Generation | None = None
    replay: Replay = field(default_factory=Replay)
    seed: int | list[int] = 0
    only: str | None = None
    runs: str = "runs"
    results: str = "results"
    queries: bool = True

    @property
    def seeds(self) -> list[int]:
        """Seeds of the heads and orders."""
        return self.seed if isinstance(self.seed, list) else [self.seed]

    def at(self, seed: int) -> Experiment:
        """Return the experiment with one seed, also for training models without a seed of their own."""

        def seeded(generation: Generation) -> Generation:
            return replace(generation, seed=seed) if generation.seed is None else generation

        generations = {name: seeded(generation) for name, generation in self.generations.items()}
        return replace(self, seed=seed, generations=generations, side=seeded(self.side) if self.side else None)

    @property
    def chosen(self) -> list[str]:
        """The methods to run."""
        return list(self.methods) if self.only is None else [name.strip() for name in self.only.split(",")]
