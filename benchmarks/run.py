"""Run one benchmark: one YAML file in, one line in results/<name>/results.jsonl for each method and seed out."""

from __future__ import annotations

import argparse
import shlex
import sys
import traceback
import warnings
from pathlib import Path

from benchmarks.artifacts.artifact import graph, load_code
from benchmarks.artifacts.store import ArtifactStore, StoreError
from benchmarks.config import listing
from benchmarks.config.networks import check_networks
from benchmarks.config.parse import parse
from benchmarks.config.schema import Experiment
from benchmarks.jobs.plan import Job, part_of, plan
from compat.command import GO_ON, Parser, exit_on_input_error
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


def main() -> None:
    """Command line of `python -m benchmarks.run`."""
    with exit_on_input_error(again=GO_ON):
        warnings.filterwarnings("ignore", module="pytorch_lightning|torch")
        arguments, overrides = command_line(sys.argv[1:])
        experiment = parse(arguments.config, overrides)
        if arguments.part is not None:
            part_of([], arguments.part)
        if arguments.list or arguments.dry_run:
            print(listing.listing(experiment, why=arguments.dry_run, part=arguments.part))
            return
        command = shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]])
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
    print(f"Results are in {folder}; draw them with: python -m benchmarks.plot {folder} -o {folder.name}.png")


def command_line(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse the options of the command itself, and those of the experiment."""
    listing.class_help(arguments)
    parser = Parser(
        prog="python -m benchmarks.run",
        usage="python -m benchmarks.run CONFIG [--config CONFIG ...] [options] [--key=value ...]",
        description="Run one benchmark from its YAML file. Any value can be overridden: --new.trainer.max_epochs=3",
        epilog=listing.keys_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("first", nargs="?", metavar="CONFIG", help="YAML file of a benchmark")
    parser.add_argument("--config", action="append", default=[], help="a YAML file to overlay; repeatable")
    parser.add_argument("--list", action="store_true", help="list the jobs with state and seconds")
    parser.add_argument("--dry-run", action="store_true", help="list the artifacts to be made, and why")
    parser.add_argument("--part", metavar="i/n", help="run part i of n of the jobs, for array jobs")
    parser.add_argument("--overwrite", action="store_true", help="replace results made with another config")
    found, overrides = parser.parse_known_args(arguments)
    if found.first is not None:
        found.config = [found.first, *found.config]
    return found, overrides


if __name__ == "__main__":
    main()
