"""Choose the arguments of every method on training images that are held out, with as many trials for each.

    python -m benchmarks.tune configs/omniglot.yaml --methods=configs/methods/compared.yaml \\
        --space configs/tuning.yaml --trials 5 -o results/tuning/omniglot.json --write configs/tuned/omniglot.yaml
    python -m benchmarks.run configs/omniglot.yaml --config configs/tuned/omniglot.yaml

A quarter of the training images is queries and gallery; everything, the old and the new model too, is trained on the
rest. The benchmark's own gallery is never looked at. SPACE has the range of each argument of each method:

    ract:
      weight: {low: 0.1, high: 3.0, log: true}
      negatives: {choices: [1, 10, 100]}

The first trial is the method as the config has it, the others are proposed by Optuna (TPE); what has the largest area
under the mAP curve, in random order under raw distances, is chosen. A method without a range has the first trial alone.
Finished trials are found again in the run folder, and several processes, each with other methods (--only), may write
into one file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from filelock import FileLock

from benchmarks.experiment.exit import Parser, exit_on_input_error
from benchmarks.experiment.parse import parse, read_plain
from benchmarks.experiment.schema import RANDOM, RAW, Experiment, Replay
from benchmarks.experiment.spec import Spec, closest
from compat.errors import InputError
from compat.files import replace as replace_file

ORDERS, STARTUP = 3, 4


class Trial(NamedTuple):
    """One set of arguments: its area under the mAP curve with both ends, or why it has none.

    `seconds` are of all that it takes beside the two plain models, a model that it is based on included.
    """

    init_args: dict[str, Any]
    area: float | None
    ends: tuple[float, float] | None
    seconds: float
    error: str | None = None


def held_out(experiment: Experiment) -> Experiment:
    """The experiment on its training images alone, of which some are queries and gallery.

    Raises:
        InputError: more than two generations.
    """
    if len(experiment.generations) > 2:
        raise InputError(f"generations: {len(experiment.generations)}, expected two to tune on")
    data = Spec({"class_path": "benchmarks.experiment.heldout.HeldOut", "init_args": {"data": experiment.data.content}})
    replay = Replay(experiment.replay.progress, ORDERS, experiment.replay.distance, {"random": RANDOM}, {"raw": RAW})
    return replace(experiment.at(experiment.seeds[0]), data=data, replay=replay)


def distribution(field: str, given: Any) -> Any:
    """A range as Optuna has it: choices, or whole or other numbers from low to high.

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
    """The distributions of each method's arguments.

    Raises:
        InputError: no such method or argument, no range, or one without what the method has without tuning.
    """
    for name in space:
        if name not in experiment.methods:
            raise InputError(f"space: {name!r}, {closest(name, list(experiment.methods))}")
    found: dict[str, dict[str, Any]] = {}
    for name in experiment.chosen:
        spec = experiment.methods[name]
        spec.having(**(space.get(name) or {})).check(f"space.{name}")
        found[name] = {arg: distribution(f"{name}.{arg}", given) for arg, given in (space.get(name) or {}).items()}
        for argument, value in configured(spec, found[name]).items():
            one = found[name][argument]
            if value not in one.choices if hasattr(one, "choices") else not one.low <= value <= one.high:
                raise InputError(f"space.{name}.{argument}: without {value}, expected it to hold what the method has")
    return found


def configured(spec: Spec, names: dict[str, Any]) -> dict[str, Any]:
    """The arguments of those names as a method has them without tuning."""
    from benchmarks.products.source import default_of

    return {name: spec.init_args.get(name, default_of(spec.class_path, name)) for name in names}


class Tuner:
    """Makes trials of an experiment on its held-out images."""

    def __init__(self, experiment: Experiment) -> None:
        from benchmarks.experiment.check import check_networks
        from benchmarks.experiment.plan import plan
        from benchmarks.products.base import graph, load_code
        from benchmarks.products.images import dataset
        from benchmarks.products.progress import Progress
        from benchmarks.products.store import Store
        from benchmarks.products.threads import pixels, settle
        from compat.progress import completion_ratios

        self.experiment = held_out(experiment)
        self.points = tuple(completion_ratios(experiment.replay.progress).tolist())
        data = dataset(self.experiment.data)
        self.digests = tuple(data.fingerprint())
        load_code(one for job in plan(self.experiment, self.digests, self.points) for one in graph(job.curve))
        settle(pixels(data))
        check_networks(self.experiment)
        self.store = Store(experiment.runs, Progress().begin)

    def trial(self, name: str, init_args: dict[str, Any]) -> Trial:
        """One method with some of its arguments; one that cannot be built or fails has no area."""
        from benchmarks.experiment.outcome import seconds
        from benchmarks.experiment.plan import plan
        from benchmarks.products.base import graph
        from compat.curve import area

        methods = {name: self.experiment.methods[name].having(**init_args)}
        (job,) = plan(replace(self.experiment, methods=methods, only=None), self.digests, self.points)
        shared = {*graph(job.curve.before), *graph(job.curve.after)}
        try:
            curve = self.store.get(job.curve)["mean_ap"].tolist()
        except Exception as error:  # as of a run: the other trials go on
            return Trial(init_args, None, None, 0.0, " ".join(f"{type(error).__name__}: {error}".split()))
        own = sum(seconds(one, self.store) for one in graph(job.curve) if one not in shared)
        return Trial(init_args, area(self.points, curve), (curve[0], curve[-1]), round(own, 2))

    def study(self, name: str, distributions: dict[str, Any], trials: int) -> Iterator[Trial]:
        """The trials of one method: first as it is, then as Optuna proposes them, seeded."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=0)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.enqueue_trial(configured(self.experiment.methods[name], distributions))
        for _ in range(trials if distributions else 1):
            asked = study.ask(distributions)
            made = self.trial(name, asked.params)
            failed = optuna.trial.TrialState.FAIL if made.area is None else None
            study.tell(asked, made.area, state=failed)
            yield made


def tune(experiment: Experiment, space: dict[str, Any], trials: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each method with what was tried and what is chosen.

    Raises:
        InputError: a space that does not fit the methods.
    """
    if trials < 1:
        raise InputError(f"trials: {trials}, expected at least 1")
    found = spaces(experiment, space)
    tuner = Tuner(experiment)
    for name, distributions in found.items():
        made = []
        for one in tuner.study(name, distributions, trials):
            made.append(one)
            print(
                f"{name} {json.dumps(one.init_args)}: {one.error or f'AUC {100 * (one.area or 0):.2f} %'}", flush=True
            )
        best = max(made, key=lambda one: -1.0 if one.area is None else one.area)  # the first, if all have failed
        yield (
            name,
            {
                "space": space.get(name) or {},
                "trials": [one._asdict() for one in made],
                "chosen": best.init_args,
                "seconds": round(sum(one.seconds for one in made), 2),
                "spec": experiment.methods[name].having(**best.init_args).content,
            },
        )


def main() -> None:
    """Command line of `python -m benchmarks.tune`."""
    parser = Parser(
        prog="python -m benchmarks.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", metavar="CONFIG", help="YAML file of a benchmark")
    parser.add_argument("--config", action="append", default=[], help="a file laid over it; may be repeated")
    parser.add_argument("--space", required=True, help="YAML: method -> argument -> range")
    parser.add_argument("--trials", type=int, default=8, help="of each method (default 8)")
    parser.add_argument("-o", "--output", required=True, help="JSON file: what was tried and chosen")
    parser.add_argument("--write", metavar="YAML", help="the methods as chosen, to be laid over the config")
    own, overrides = parser.parse_known_args()
    with exit_on_input_error():
        experiment = parse([own.first, *own.config], overrides)
        for name, found in tune(experiment, read_plain(Path(own.space)), own.trials):
            methods = add(Path(own.output), name, found)
            if own.write:
                lay(Path(own.write), methods, " ".join([own.first, *(f"--config {one}" for one in own.config)]))


def add(path: Path, name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Put a method's trials into the file, beside those of others, and return all."""
    from benchmarks.products.record import provenance

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        methods = json.loads(path.read_text())["methods"] if path.exists() else {}
        methods[name] = found
        content = {"methods": methods, **provenance()}
        replace_file(path, lambda file: file.write_text(json.dumps(content, indent=1) + "\n"))
    return methods


def lay(path: Path, methods: dict[str, Any], config: str) -> None:
    """Write the methods as they were chosen, as a config to be laid over that of the benchmark."""
    name = f"{Path(config.split()[0]).stem}_tuned"
    head = f"# python -m benchmarks.run {config} --config {path} --name={name}\n"
    head += "# The arguments that benchmarks.tune chose on held-out training images.\n"
    specs = yaml.safe_dump({"methods": {one: found["spec"] for one, found in methods.items()}}, sort_keys=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: file.write_text(head + specs))


if __name__ == "__main__":
    main()
