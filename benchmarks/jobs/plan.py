"""From an experiment to its jobs, each one result: computed from the config and the images' digests alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks.artifacts.artifact import Artifact, checksum
from benchmarks.artifacts.kinds import (
    Extracted,
    ImageSet,
    Loaded,
    MethodState,
    Metrics,
    OnlineCurve,
    Ordering,
    Overlap,
    OwnSystem,
    PlainSystem,
    ReplayedCurve,
    ServedSystem,
    SystemFigures,
    TrainingRecipe,
    Upgraded,
    Weights,
)
from benchmarks.artifacts.threads import read_setting
from benchmarks.config.schema import Experiment, Generation, Replay
from benchmarks.config.spec import Spec
from compat.errors import InputError
from compat.results import ordinal

DISPLAY = ("enable_progress_bar", "enable_model_summary", "log_every_n_steps", "logger", "default_root_dir", "profiler")
FASTFILL = Spec({"class_path": "compat.methods.FastFill"})
INDEPENDENT = Spec({"class_path": "compat.methods.Upgrade"})
RAW = "compat.merge.Raw"


@dataclass(frozen=True)
class Job:
    """One result: a curve, and by which labels people tell it from others.

    Attributes:
        curve: the artifact.
        labels: upgrade, method, seed, order, merge.
        start: of a sequence, the progress of the upgrade before when this one starts; 0 if there is none.
    """

    curve: ReplayedCurve
    labels: tuple[tuple[str, str | int], ...]
    start: float = 0.0

    @property
    def name(self) -> str:
        """For messages."""
        return " ".join(f"{name}={value}" for name, value in self.labels if value != "")


class Step(NamedTuple):
    """One upgrade of a sequence: between which generations, from which progress of the one before on."""

    name: str
    number: int
    start: float


def plan(experiment: Experiment, digests: tuple[str, ...], progress: tuple[float, ...]) -> list[Job]:
    """All results of an experiment, in the order in which they are made."""
    images = ImageSet.of(experiment.data, digests)
    return [job for seed in experiment.seeds for job in Planner(experiment.at(seed), images, progress).jobs()]


def steps(experiment: Experiment) -> list[Step]:
    """The upgrades that are replayed; of two generations there is one, which needs no name."""
    count = len(experiment.generations) - 1
    if count == 1:
        return [Step("", 0, 0.0)]
    later = [Step(f"{ordinal(n + 1)}_from_{s:g}", n, s) for n in range(1, count) for s in experiment.starts]
    return [Step("first", 0, 0.0), *later]


def axes_of(replay: Replay) -> dict[str, dict[str, Spec]]:
    """The axes along which each method is replayed, by their labels."""
    return {f.metadata["label"]: getattr(replay, f.name) for f in fields(replay) if "label" in f.metadata}


class Planner:
    """The artifacts of an experiment of one seed.

    Args:
        experiment: its config, see `Experiment.at`.
        images: the dataset.
        progress: completion ratios.
    """

    def __init__(self, experiment: Experiment, images: ImageSet, progress: tuple[float, ...]) -> None:
        self.experiment, self.images, self.progress = experiment, images, progress
        (self.seed,) = experiment.seeds
        self.names, self.generations = list(experiment.generations), list(experiment.generations.values())
        side = self.plain(experiment.side, 0, "side").vectors if experiment.side else None
        self.systems = [
            self.plain(generation, number, name, side if number == 0 else None)
            for number, (name, generation) in enumerate(experiment.generations.items())
        ]

    def jobs(self) -> Iterator[Job]:
        """Each method, in each order under each rule, for each upgrade."""
        axes, seed = axes_of(self.experiment.replay), self.seed
        for method in self.experiment.chosen:
            spec = self.experiment.methods[method]
            chain = self.chain(spec, method)
            for entries in product(*(axis.items() for axis in axes.values())):
                chosen = dict(zip(axes, entries, strict=True))
                places = {label: name for label, (name, _) in chosen.items()}
                if learns_on_the_way(spec) and places["merge"] != "raw":
                    continue  # it has a rule of its own
                for step in steps(self.experiment):
                    labels: dict[str, str | int] = {"upgrade": step.name, "method": method, "seed": seed, **places}
                    other = (name for name in (*places.values(), step.name) if name not in ("random", "raw", ""))
                    name = " ".join([method, *other, f"seed {seed}"])
                    curve = self.curve(step, chain, chosen, name)
                    if learns_on_the_way(spec):
                        curve = self.on_the_way(curve, spec)
                    yield Job(curve, tuple(labels.items()), step.start)

    def plain(self, generation: Generation, number: int, name: str, side: Extracted | None = None) -> PlainSystem:
        """A generation's own model and its embeddings."""
        model, options = generation.model, generation.trainer
        weights: Artifact
        if generation.checkpoint:
            path = generation.checkpoint
            weights = Loaded(model, checksum(path) if Path(path).is_file() else path, path, name)
        else:
            seed = training_seed(number, generation.seed or 0)
            images = self.images.to_train_on()
            trainer, threads = options.without(DISPLAY), read_setting()
            weights = Weights(model, trainer, seed, generation.sees, images, threads, name, options)
        return PlainSystem(Extracted(model, weights, self.images.shown_plainly(), name, options), side)

    def chain(self, spec: Spec, name: str) -> list[Upgraded]:
        """A method's upgrades from each generation to the next."""
        chain: list[Upgraded] = []
        for number in range(1, len(self.systems)):
            old: PlainSystem | ServedSystem = ServedSystem(chain[-1]) if chain else self.systems[0]
            chain.append(self.upgraded(spec, name, number, old))
        return chain

    def upgraded(self, spec: Spec, name: str, number: int, old: PlainSystem | ServedSystem) -> Upgraded:
        """One upgrade by a method, to the generation of that number; of one that learns on the way that before it."""
        new: PlainSystem | OwnSystem = self.systems[number]
        base = f"{name}'s {spec.based_on.class_path.rpartition('.')[2]}" if spec.based_on is not None else "independent"
        if learns_on_the_way(spec):
            return self.upgraded(spec.based_on or INDEPENDENT, base, number, old)
        if spec.based_on is not None:
            new = self.upgraded(spec.based_on, base, number, old).new
        learned = self.learned(spec, name, number, old, new)
        if "new model training" in learned.method.needs():
            generation = self.generations[number]
            vectors = Extracted(generation.model, learned, self.images.shown_plainly(), name, generation.trainer)
            return Upgraded(learned, OwnSystem(vectors))
        return Upgraded(learned, new)

    def learned(
        self, spec: Spec, name: str, number: int, old: PlainSystem | ServedSystem, new: PlainSystem | OwnSystem
    ) -> MethodState:
        """What a method learns; nothing that it does not need is part of it."""
        method = spec.replace(based_on=None) if spec.based_on is not None else spec
        needs, training = method.needs(), None
        generation, heads = self.generations[number], self.experiment.heads
        sees = generation.sees if heads.sees is None or "new model training" in needs else heads.sees
        if "head training" in needs:
            options = heads.trainer
            size = heads.batch_size
            training = TrainingRecipe(
                options.without(DISPLAY), self.seed, None, size, heads.images, read_setting(), options
            )
        elif "new model training" in needs:
            options, own = generation.trainer, training_seed(number, generation.seed or 0)
            training = TrainingRecipe(
                options.without(DISPLAY), own, generation.model, threads=read_setting(), options=options
            )
        if not needs:
            return MethodState(method, old, new, None, None, None, None, name)
        by_images = "new model training" in needs or (training is not None and training.augmented)
        images = self.images.to_train_on() if by_images else self.images.labels_only()
        saw = self.generations[number - 1].sees if "old classes" in needs else None
        return MethodState(method, old, new, images, sees, saw, training, name)

    def curve(self, step: Step, chain: list[Upgraded], chosen: dict[str, tuple[str, Spec]], name: str) -> ReplayedCurve:
        """The replay of one step of a sequence; what is chosen on an axis is the field of that name."""
        axes = dict(chosen)
        order, (_, rule) = axes.pop("order"), axes.pop("merge")
        upgrade, distance = chain[step.number], self.experiment.replay.distance
        seeds = tuple((self.seed, number) for number in range(self.experiment.replay.orders))
        early = 0 < step.start < 1
        overlap = None
        if early:
            overlap = Overlap(chain[step.number - 1], step.start, tuple((*pair, 2) for pair in seeds))
        before = self.ends(step.number - 1 if early else step.number)
        raw = rule.class_path == RAW
        return ReplayedCurve(
            upgrade,
            self.ordered(order, seeds, upgrade, step.number),
            None if raw else rule,
            None if raw else self.generations[step.number + 1].sees,
            self.progress,
            distance,
            self.metrics(),
            self.images.shown_plainly(),
            before,
            self.ends(step.number),
            overlap,
            name,
            **{label: spec for label, (_, spec) in axes.items()},
        )

    def on_the_way(self, plain: ReplayedCurve, spec: Spec) -> OnlineCurve:
        """The replay of a method that learns as the gallery is backfilled, on top of what served before."""
        values = {f.name: getattr(plain, f.name) for f in fields(plain)}
        return OnlineCurve(**values, learner=spec.replace(based_on=None), refit=tuple(self.experiment.replay.refit))

    def ends(self, number: int) -> SystemFigures:
        """The systems before and after an upgrade, on their own."""
        old, new = (PlainSystem(system.vectors) for system in self.systems[number : number + 2])
        between = f"{self.names[number]} and {self.names[number + 1]}"
        return SystemFigures(
            old, new, self.images.shown_plainly(), self.experiment.replay.distance, self.metrics(), between
        )

    def metrics(self) -> Metrics:
        """What is measured beside mAP, CMC and flips."""
        return tuple(self.experiment.replay.metrics.items())

    def ordered(
        self, given: tuple[str, Spec], seeds: tuple[tuple[int, int], ...], upgrade: Upgraded, number: int
    ) -> Ordering:
        """An order with what it needs, and no more."""
        name, order = given
        needs = set(order.needs())
        looks = needs & {"served old gallery", "all matrices and labels"}
        everything = "all matrices and labels" in needs
        estimator = None
        if "uncertainty" in needs:
            estimator = upgrade
            if not upgrade.learned.method.declared("estimates", False):
                old = upgrade.learned.old
                estimator = self.upgraded(self.fastfill(), "fastfill", number + 1, old)
        return Ordering(
            order,
            seeds,
            self.images.shown_plainly(),
            upgrade.learned.old if needs & {"old gallery", "old classifier"} else None,
            upgrade if looks else None,
            estimator,
            self.progress if everything else None,
            self.experiment.replay.distance if everything else None,
            name,
        )

    def fastfill(self) -> Spec:
        """The FastFill by whose uncertainty methods that have none are ordered: the config's, or the usual one."""
        mine = (s for s in self.experiment.methods.values() if s.class_path.rpartition(".")[2] == "FastFill")
        return next((spec for spec in mine if "side-information" not in spec.needs()), FASTFILL)


def learns_on_the_way(spec: Spec) -> bool:
    """Whether a method is refitted as the gallery is backfilled, see `compat.experience`."""
    return bool(spec.declared("learns_on_the_way", False))


def training_seed(number: int, seed: int) -> int:
    """The seed of one generation's training: the same seed and backbone must not give two the same weights.

    Twice the seed plus 0, 1, 2**31, 2**31 + 1, 2**30, ... for the first, second, third, ... generation; the first three
    define all published weights.
    """
    return (2 * seed + number % 2 + (2**32 >> (number // 2)) % 2**32) % 2**32


def part_of(jobs: list[Job], given: str) -> list[Job]:
    """Part i of n of the jobs, `i/n`; the parts together are all jobs.

    Raises:
        InputError: no such part.
    """
    number, _, count = given.partition("/")
    digits = given.isascii() and number.isdecimal() and count.isdecimal() and len(given) < 100
    if not (digits and int(number) < int(count)):
        raise InputError(f"part: {given}, expected i/n with i from 0 to n - 1, such as 0/3")
    return jobs[len(jobs) * int(number) // int(count) : len(jobs) * (int(number) + 1) // int(count)]
