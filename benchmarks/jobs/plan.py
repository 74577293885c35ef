"""Plan the jobs of an experiment, one per result, from the config and the images' digests alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks.artifacts.artifact import Artifact, checksum
from benchmarks.artifacts.kinds import (
    Extracted,
    FrozenFeatures,
    ImageSet,
    Loaded,
    MethodState,
    Metrics,
    OldEnd,
    OnlineCurve,
    Ordering,
    Overlap,
    OwnSystem,
    PlainSystem,
    Projected,
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
    """One result: a curve with its labels.

    Attributes:
        curve: the artifact.
        labels: upgrade, method, seed, order, merge.
        start: in a sequence, the progress of the previous upgrade at the start of this one; 0 without one.
    """

    curve: ReplayedCurve
    labels: tuple[tuple[str, str | int], ...]
    start: float = 0.0

    @property
    def name(self) -> str:
        """Name for messages."""
        return " ".join(f"{name}={value}" for name, value in self.labels if value != "")


class Step(NamedTuple):
    """One upgrade of a sequence: its two generations, and the previous upgrade's progress at its start."""

    name: str
    number: int
    start: float


def plan(experiment: Experiment, digests: tuple[str, ...], progress: tuple[float, ...]) -> list[Job]:
    """Return all jobs of an experiment, in their order."""
    images = ImageSet.of(experiment.data, digests)
    return [job for seed in experiment.seeds for job in Planner(experiment.at(seed), images, progress).jobs()]


def steps(experiment: Experiment) -> list[Step]:
    """Return the upgrades to replay; with two generations there is one, without a name."""
    count = len(experiment.generations) - 1
    if count == 1:
        return [Step("", 0, 0.0)]
    later = [Step(f"{ordinal(n + 1)}_from_{s:g}", n, s) for n in range(1, count) for s in experiment.starts]
    return [Step("first", 0, 0.0), *later]


def axes_of(replay: Replay) -> dict[str, dict[str, Spec]]:
    """Return the axes along which each method is replayed, by label."""
    return {f.metadata["label"]: getattr(replay, f.name) for f in fields(replay) if "label" in f.metadata}


class Planner:
    """Build the artifacts of an experiment with one seed.

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
        """Return the jobs: each method, in each order under each rule, for each upgrade."""
        axes, seed = axes_of(self.experiment.replay), self.seed
        for method in self.experiment.chosen:
            spec = self.experiment.methods[method]
            chain = self.chain(spec, method)
            for entries in product(*(axis.items() for axis in axes.values())):
                chosen = dict(zip(axes, entries, strict=True))
                places = {label: name for label, (name, _) in chosen.items()}
                if is_online(spec) and places["merge"] != "raw":
                    continue  # it has a rule of its own
                for step in steps(self.experiment):
                    labels: dict[str, str | int] = {"upgrade": step.name, "method": method, "seed": seed, **places}
                    other = (name for name in (*places.values(), step.name) if name not in ("random", "raw", ""))
                    name = " ".join([method, *other, f"seed {seed}"])
                    curve = self.curve(step, chain, chosen, name)
                    if is_online(spec):
                        curve = self.refit_online(curve, spec)
                    yield Job(curve, tuple(labels.items()), step.start)

    def plain(self, generation: Generation, number: int, name: str, side: Extracted | None = None) -> PlainSystem:
        """Return a generation's own model and its embeddings."""
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
            if generation.frozen:
                backbone = model.replace(init_args={"backbone": model.init_args["backbone"]})
                seen = FrozenFeatures(backbone, self.images.shown_plainly(), name, options)
                weights = Projected(model, trainer, seed, generation.sees, images, threads, name, options, seen)
        return PlainSystem(Extracted(model, weights, self.images.shown_plainly(), name, options), side)

    def chain(self, spec: Spec, name: str) -> list[Upgraded]:
        """Return a method's upgrades from each generation to the next."""
        chain: list[Upgraded] = []
        for number in range(1, len(self.systems)):
            old: PlainSystem | ServedSystem = ServedSystem(chain[-1]) if chain else self.systems[0]
            chain.append(self.upgraded(spec, name, number, old))
        return chain

    def upgraded(self, spec: Spec, name: str, number: int, old: PlainSystem | ServedSystem | OldEnd) -> Upgraded:
        """Return one upgrade by a method, to the generation of this number; for an online method its base upgrade."""
        new: PlainSystem | OwnSystem | ServedSystem = self.systems[number]
        base = f"{name}'s {spec.based_on.class_path.rpartition('.')[2]}" if spec.based_on is not None else "independent"
        if is_online(spec):
            return self.upgraded(spec.based_on or INDEPENDENT, base, number, old)
        if spec.based_on is not None:
            new = self.upgraded(spec.based_on, base, number, old).new
        if spec.onto is not None:
            under = self.upgraded(spec.onto, f"{name}'s {spec.onto.class_path.rpartition('.')[2]}", number, old)
            old, new = OldEnd(under), ServedSystem(under)
        learned = self.learned(spec, name, number, old, new)
        if "new model training" in learned.method.needs():
            generation = self.generations[number]
            vectors = Extracted(generation.model, learned, self.images.shown_plainly(), name, generation.trainer)
            return Upgraded(learned, OwnSystem(vectors))
        return Upgraded(learned, new)

    def learned(
        self,
        spec: Spec,
        name: str,
        number: int,
        old: PlainSystem | ServedSystem | OldEnd,
        new: PlainSystem | OwnSystem | ServedSystem,
    ) -> MethodState:
        """Return a method's state, with its needed inputs only."""
        method = spec.alone
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
        """Return the replay of one step of a sequence; an axis is the field of the same name."""
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

    def refit_online(self, plain: ReplayedCurve, spec: Spec) -> OnlineCurve:
        """Return the replay of an online method, on top of its base upgrade."""
        values = {f.name: getattr(plain, f.name) for f in fields(plain)}
        return OnlineCurve(**values, learner=spec.alone, refit=tuple(self.experiment.replay.refit))

    def ends(self, number: int) -> SystemFigures:
        """Return the figures of an upgrade's old and new system on their own."""
        old, new = (PlainSystem(system.vectors) for system in self.systems[number : number + 2])
        between = f"{self.names[number]} and {self.names[number + 1]}"
        return SystemFigures(
            old, new, self.images.shown_plainly(), self.experiment.replay.distance, self.metrics(), between
        )

    def metrics(self) -> Metrics:
        """Return the metrics beside mAP, CMC and flips."""
        return tuple(self.experiment.replay.metrics.items())

    def ordered(
        self, given: tuple[str, Spec], seeds: tuple[tuple[int, int], ...], upgrade: Upgraded, number: int
    ) -> Ordering:
        """Return an order with its needed inputs only."""
        name, order = given
        needs = set(order.needs())
        looks = needs & {"served old gallery", "all matrices and labels"}
        everything = "all matrices and labels" in needs
        old, estimator = upgrade.learned.old, None
        while isinstance(old, OldEnd):
            old = old.of.learned.old  # with its classifier, whatever is on top of it
        if "uncertainty" in needs:
            estimator = upgrade
            if not upgrade.learned.method.declared("estimates", False):
                estimator = self.upgraded(self.fastfill(), "fastfill", number + 1, old)
        return Ordering(
            order,
            seeds,
            self.images.shown_plainly(),
            old if needs & {"old gallery", "old classifier"} else None,
            upgrade if looks else None,
            estimator,
            self.progress if everything else None,
            self.experiment.replay.distance if everything else None,
            name,
        )

    def fastfill(self) -> Spec:
        """Return the FastFill whose uncertainty orders methods without one: the config's, or the default one."""
        mine = (s for s in self.experiment.methods.values() if s.class_path.rpartition(".")[2] == "FastFill")
        return next((spec for spec in mine if "side-information" not in spec.needs()), FASTFILL)


def is_online(spec: Spec) -> bool:
    """Whether a method is online: refitted during the backfill, see `compat.experience`."""
    return bool(spec.declared("online", False))


def training_seed(number: int, seed: int) -> int:
    """Return the seed of one generation's training; equal backbones with one seed must not get equal weights.

    Twice the seed plus 0, 1, 2**31, 2**31 + 1, 2**30, ... for the first, second, third, ... generation; the first three
    define all published weights.
    """
    return (2 * seed + number % 2 + (2**32 >> (number // 2)) % 2**32) % 2**32


def part_of(jobs: list[Job], given: str) -> list[Job]:
    """Select part i of n of the jobs, `i/n`; the parts together are all jobs.

    Raises:
        InputError: no such part.
    """
    number, _, count = given.partition("/")
    digits = given.isascii() and number.isdecimal() and count.isdecimal() and len(given) < 100
    if not (digits and int(number) < int(count)):
        raise InputError(f"part: {given}, expected i/n with i from 0 to n - 1, such as 0/3")
    return jobs[len(jobs) * int(number) // int(count) : len(jobs) * (int(number) + 1) // int(count)]
