"""Tune a method's arguments on held-out training images, with Optuna."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from benchmarks.artifacts import source
from benchmarks.artifacts.artifact import Artifact, graph, key, load_code
from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import Loaded, Weights
from benchmarks.artifacts.progress import Progress
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.threads import count_pixels, set_threads
from benchmarks.config.networks import check_networks
from benchmarks.config.schema import RANDOM, RAW, Experiment, Replay
from benchmarks.config.spec import Spec
from benchmarks.jobs.outcome import figures_of, seconds
from benchmarks.jobs.plan import Job, plan
from compat.curve import area
from compat.errors import InputError, closest
from compat.importing import reason
from compat.progress import completion_ratios

ORDERS, STARTUP = 3, 4


class TunedTrial(NamedTuple):
    """One set of arguments: its area under the mAP curve with both ends, or the reason of its failure.

    `seconds` exclude artifacts of earlier trials of the method, and the two plain models.
    """

    init_args: dict[str, Any]
    area: float | None
    ends: tuple[float, float] | None
    seconds: float
    error: str | None = None


def held_out(experiment: Experiment) -> Experiment:
    """Return the experiment on its training images alone, some of them as queries and gallery.

    Raises:
        InputError: more than two generations.
    """
    if len(experiment.generations) > 2:
        raise InputError(f"generations: {len(experiment.generations)}, expected two to tune on")
    data = Spec({"class_path": "benchmarks.config.heldout.HeldOut", "init_args": {"data": experiment.data.content}})
    replay = Replay(experiment.replay.progress, ORDERS, experiment.replay.distance, {"random": RANDOM}, {"raw": RAW})
    return replace(experiment.at(experiment.seeds[0]), data=data, replay=replay)


def distribution(field: str, given: Any) -> Any:
    """Convert a range to an Optuna distribution: choices, or integers or floats from low to high.

    Raises:
        InputError: it is no range.
    """
    try:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    except ImportError as error:
        raise InputError('optuna: not installed, expected it: pip install -e ".[tune]"') from error
    try:
        if "choices" in given:
            return CategoricalDistribution(**given)
        whole = all(isinstance(given[end], int) for end in ("low", "high"))
        return (IntDistribution if whole else FloatDistribution)(**given)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"space.{field}: {given} ({error}), expected choices, or low and high") from error


def spaces(experiment: Experiment, space: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the distributions of each method's arguments.

    Raises:
        InputError: no such method or argument, no range, or one excluding the method's current value.
    """
    for name, ranges in space.items():
        if name not in experiment.methods:
            raise InputError(f"space: {name!r}, {closest(name, list(experiment.methods))}")
        if not isinstance(ranges, dict):
            raise InputError(f"space.{name}: {ranges}, expected argument: range")
    found: dict[str, dict[str, Any]] = {}
    for name in experiment.chosen:
        spec, ranges = experiment.methods[name], space.get(name, {})
        spec.having(**ranges).check(f"space.{name}")
        found[name] = {argument: distribution(f"{name}.{argument}", given) for argument, given in ranges.items()}
        for argument, value in current_arguments(spec, found[name]).items():
            one = found[name][argument]
            among = hasattr(one, "choices")
            if value not in one.choices if among else value is None or not one.low <= value <= one.high:
                raise InputError(f"space.{name}.{argument}: without {value}, expected the method's own value in it")
    return found


def current_arguments(spec: Spec, names: dict[str, Any]) -> dict[str, Any]:
    """Return the untuned values of these arguments of a method."""
    return {name: spec.init_args.get(name, source.default_of(spec.class_path, name)) for name in names}


class Tuner:
    """Run trials of an experiment on its held-out images."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = held_out(experiment)
        self.points = tuple(completion_ratios(experiment.replay.progress).tolist())
        data = dataset(self.experiment.data)
        self.digests = tuple(data.fingerprint())
        load_code(one for job in plan(self.experiment, self.digests, self.points) for one in graph(job.curve))
        set_threads(count_pixels(data))
        check_networks(self.experiment)
        self.store = ArtifactStore(experiment.runs, Progress().begin)

    @property
    def models(self) -> list[str]:
        """Return the trainings of the old and the new model, without the held-out images."""
        job = self.job(next(iter(self.experiment.chosen)), {})
        ends = [*graph(job.curve.before), *graph(job.curve.after)]
        return [key(one) for one in dict.fromkeys(ends) if isinstance(one, (Weights, Loaded))]

    def job(self, name: str, init_args: dict[str, Any]) -> Job:
        """Return the job of one method with some of its arguments."""
        methods = {name: self.experiment.methods[name].having(**init_args)}
        (job,) = plan(replace(self.experiment, methods=methods, only=None), self.digests, self.points)
        return job

    def trial(self, name: str, init_args: dict[str, Any], made: set[Artifact]) -> TunedTrial:
        """Run one method with some of its arguments; failures have no area.

        Args:
            name: of the method.
            init_args: of it.
            made: artifacts not counted in its seconds; its own are added.
        """
        curve = self.job(name, init_args).curve
        made |= {*graph(curve.before), *graph(curve.after)}
        try:
            mean_ap = figures_of(self.store.get(curve))["mean_ap"].mean(0).tolist()
        except Exception as error:  # as of a run: the other trials go on
            return TunedTrial(init_args, None, None, 0.0, reason(error))
        own = [one for one in graph(curve) if one not in made]
        made |= {*own}
        took = sum(seconds(one, self.store) for one in own)
        return TunedTrial(init_args, area(self.points, mean_ap), (mean_ap[0], mean_ap[-1]), round(took, 2))

    def study(self, name: str, distributions: dict[str, Any], trials: int) -> Iterator[TunedTrial]:
        """Run the trials of one method: first the current arguments, then Optuna's proposals, seeded."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=0)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.enqueue_trial(current_arguments(self.experiment.methods[name], distributions))
        made: set[Artifact] = set()
        for _ in range(trials if distributions else 1):
            asked = study.ask(distributions)
            found = self.trial(name, asked.params, made)
            failed = optuna.trial.TrialState.FAIL if found.area is None else None
            study.tell(asked, found.area, state=failed)
            yield found
