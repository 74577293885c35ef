"""Train policies of which groups of a gallery are backfilled first in some environments, and try them in others.

    compat-bench policies policies environments -o results/policies/all.json
    compat-bench policies policies environments -o results/policies/all.json --gate
    compat-bench policies policies environments -o results/policies/all.json --only within/digits
    compat-bench policies -o results/policies/all.json --markdown policies.md --plot policies.png

Environments are files written by `python -m benchmarks.export`, or a folder of them, each named
DATA-SETTING-SEED.safetensors, such as digits-same-0.safetensors. The gate comes first: the gain of an expert with
labels over the best heuristic. Then each data set is held out, and each is divided into two halves of its
classes; policies trained in the other environments, or on the first half, are tried. Finished measurements are found
again in the JSON file, trained policies in the folder of runs; several processes may add to one file, each with
folds of its own (--only). Without a config the results are shown as they are, which needs no torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.embeddings.arguments import check_folder
from benchmarks.plot import save
from benchmarks.policies.points import panels
from benchmarks.policies.settings import Settings, parse
from benchmarks.policies.store import read
from benchmarks.policies.summary import StudyResults
from benchmarks.policies.tables import report
from compat.command import GO_ON, command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace
from compat.plots.policies import plot_policies


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.policies`."""
    parser = command_parser("benchmarks.policies", __doc__, "[CONFIG FILE ...] -o FILE [--key=value ...]")
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML file, or a name such as policies")
    parser.add_argument("files", nargs="*", metavar="FILE", help="environments, or folders of them")
    parser.add_argument("-o", "--output", required=True, help="JSON file of the results")
    parser.add_argument("--gate", action="store_true", help="only the headroom of the expert")
    parser.add_argument("--only", nargs="+", default=[], metavar="FOLD", help="without/DATA or within/DATA")
    parser.add_argument("--runs", default="runs/policies", help="folder of episodes and networks")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables")
    parser.add_argument("--plot", metavar="FILE", help="plot with a panel per environment: .png, .pdf or .svg")
    return parser


def run(settings: Settings, arguments: argparse.Namespace) -> None:
    """Measure all missing results.

    Raises:
        InputError: wrong files, other results in the output.
    """
    from benchmarks.policies.experiment import PolicyStudy
    from benchmarks.policies.sites import read_all

    experiment = PolicyStudy(read_all(arguments.files), settings, Path(arguments.output), Path(arguments.runs))
    folds = experiment.chosen(arguments.only)
    experiment.gate()
    for fold in () if arguments.gate else folds:
        experiment.run(fold)


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.policies`."""
    with exit_on_input_error(again=GO_ON):
        arguments, overrides = parser().parse_known_args(given)
        check_folder(Path(arguments.output).parent)
        if arguments.config:
            run(parse(arguments.config, overrides), arguments)
        elif overrides:
            raise InputError(f"{overrides[0]}: without a config, expected one before it, such as policies")
        found = StudyResults(read(arguments.output))
        text = report(found)
        print(text)
        try:
            if arguments.markdown:
                replace(Path(arguments.markdown), lambda file: file.write_text(f"{text}\n"))
            if arguments.plot:
                save(
                    plot_policies(panels(found), "points of area under the mAP curve above the heuristic"),
                    arguments.plot,
                )
        except (OSError, ValueError) as error:
            raise InputError(f"output: {error}, expected a writable file") from error


if __name__ == "__main__":
    main()
