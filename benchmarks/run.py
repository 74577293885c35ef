"""Run one benchmark: one YAML file in, one line in results/<name>/results.jsonl for each method and seed out.

    compat-bench run digits
    compat-bench run digits --config digits_methods --only=rqt,fct --seed=1
    compat-bench run mine.yaml --new.trainer.max_epochs=3

A config is a file, or the name of one in the package. Each --config is laid over those before it, --key=value over all.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarks.artifacts.artifact import graph, load_code
from benchmarks.artifacts.store import ArtifactStore, StoreError
from benchmarks.config import listing
from benchmarks.config.named import add_config, layers
from benchmarks.config.networks import check_networks
from benchmarks.config.parse import parse
from benchmarks.config.schema import Experiment
from benchmarks.jobs.plan import Job, part_of, plan
from compat.command import GO_ON, called, command_parser, exit_on_input_error
from compat.progress import completion_ratios


def run(
    experiment: Experiment, part: str | None = None, overwrite: bool = False, command: str | None = None
) -> tuple[Path, list[Job], int]:
    """Run the chosen jobs of an experiment; finished artifacts are reused from the run folder.

    Args:
        experiment: its config.
        part: of the jobs, i/n; default all.
        overwrite: replace results made with another config.
        command: the command line, stored with the results.

    Returns:
        The folder of the results, the jobs, and the number of failed ones.

    Raises:
        InputError: wrong input, or a conflicting result of another experiment.
        StoreError: the run folder cannot be written.
        CollectError: the folder of results cannot be written; finished artifacts stay in the run folder.
    """
    from benchmarks.artifacts.images import dataset
    from benchmarks.artifacts.progress import Progress
    from benchmarks.artifacts.threads import count_pixels, set_threads
    from benchmarks.jobs.collect import ResultCollector
    from compat.results import CollectError

    points = tuple(completion_ratios(experiment.replay.progress).tolist())
    unread = plan(experiment, ("never read",) * 3, points)
    load_code(artifact for job in unread for artifact in graph(job.curve))
    data = dataset(experiment.data)
    digests = tuple(data.fingerprint())
    set_threads(count_pixels(data))
    trained_on = check_networks(experiment)
    jobs = plan(experiment, digests, points)
    collector = ResultCollector(experiment, trained_on, overwrite, command)
    collector.check_free(jobs)
    jobs = jobs if part is None else part_of(jobs, part)
    progress = Progress()
    store = ArtifactStore(experiment.runs, progress.begin)
    listing.remember(store, experiment, digests)
    progress.expect(store, jobs)
    if not models(store, jobs):
        return collector.folder, [], 0
    for ends in dict.fromkeys(end for job in jobs for end in (job.curve.before, job.curve.after)):
        store.get(ends)
    failures = 0
    for job in jobs:  # whatever one of them raises, the others go on
        try:
            collector.add(job, store)
        except (StoreError, CollectError):
            raise
        except Exception as error:
            traceback.print_exception(error)
            collector.fail(job, error)
            failures += 1
            if len(jobs) == 1:
                raise
    return collector.folder, jobs, failures


def models(store: ArtifactStore, jobs: list[Job]) -> bool:
    """Make the artifacts made by several processes together: weights and embeddings of each generation.

    Returns:
        Whether this process continues alone.
    """
    import torch.distributed as dist
    from pytorch_lightning.utilities import rank_zero_only

    from benchmarks.artifacts.kinds import Extracted, Loaded, MethodState, Weights

    artifacts = list(dict.fromkeys(one for job in jobs for one in graph(job.curve)))
    for artifact in sorted(artifacts, key=lambda one: isinstance(one, Extracted)):  # stable: first all weights
        if isinstance(artifact, (Loaded, Extracted, Weights)) and not isinstance(
            getattr(artifact, "of", None), MethodState
        ):
            store.get(artifact)
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.run`."""
    with exit_on_input_error(again=GO_ON):
        warnings.filterwarnings("ignore", module="pytorch_lightning|torch")
        arguments, overrides = command_line(given)
        experiment = parse(arguments.config, overrides)
        if arguments.part is not None:
            part_of([], arguments.part)
        if arguments.list or arguments.dry_run:
            print(listing.listing(experiment, why=arguments.dry_run, part=arguments.part))
            return
        command = shlex.join([*called("benchmarks.run").split(), *(sys.argv[1:] if given is None else given)])
        folder, jobs, failures = run(experiment, arguments.part, arguments.overwrite, command)
        if jobs:
            show(folder)
        if failures:
            sys.exit(1)


def show(folder: Path) -> None:
    """Print the table, and the command to draw the curves."""
    from benchmarks.tables.table import tables
    from benchmarks.tables.terminal import narrow

    print(f"{tables(folder, draw=narrow)}\n")
    print(f"Results are in {folder}; draw them with: compat-bench plot {folder} -o {folder.name}.png")


def command_line(given: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Parse the options of the command itself, and those of the experiment."""
    listing.class_help(sys.argv[1:] if given is None else given)
    found, overrides = parser().parse_known_args(given)
    found.config = layers(found)
    return found, overrides


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.run`."""
    parser = command_parser("benchmarks.run", __doc__, "CONFIG [--config CONFIG ...] [options] [--key=value ...]")
    parser.epilog = f"{parser.epilog}\n{listing.keys_help()}"
    add_config(parser)
    parser.add_argument("--list", action="store_true", help="list the jobs with state and seconds")
    parser.add_argument("--dry-run", action="store_true", help="list the artifacts to be made, and why")
    parser.add_argument("--part", metavar="i/n", help="run part i of n of the jobs, for array jobs")
    parser.add_argument("--overwrite", action="store_true", help="replace results made with another config")
    return parser


if __name__ == "__main__":
    main()
