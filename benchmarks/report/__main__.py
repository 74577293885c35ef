"""Is this upgrade worth it? Write one self-contained HTML file, and a summary in Markdown beside it.

    compat-bench report --query-old q_old.npy --query-new q_new.npy --gallery-old g_old.npy \\
        --gallery-new g_new.npy --query-labels q_labels.npy --gallery-labels g_labels.npy -o report.html
    compat-bench report digits -o report.html
    compat-bench report results/digits_tuned -o report.html

From embeddings, every applicable way is measured: the two models side by side, methods that
learn from the gallery's own pairs, closed-form methods if training pairs are given, in several orders and under
several merge rules. With a config, its run gives embeddings and methods; with a folder of results its methods,
orders and rules are compared.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.config.named import is_config
from benchmarks.embeddings.arguments import ARRAYS, check_folder, check_seeds
from benchmarks.embeddings.arrays import split
from benchmarks.embeddings.judgements import add_judgements
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError

MOST_ITEMS = 10**15


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.report`."""
    parser = command_parser("benchmarks.report", __doc__)
    parser.add_argument(
        "folder", nargs="?", metavar="CONFIG", help="a config, its name, or results/<benchmark>, in place of embeddings"
    )
    parser.add_argument("-o", "--output", default="report.html", help="an .html file; a summary in .md beside it")
    parser.add_argument("--name", default="", help="name of the upgrade in the title")
    parser.add_argument(
        "--least-gain",
        type=float,
        default=0.01,
        metavar="X",
        help="smallest gain of mAP worth an upgrade (default 0.01)",
    )
    parser.add_argument(
        "--items-per-second", type=float, metavar="N", help="encoding speed of the new model, for times in hours"
    )
    parser.add_argument("--gallery-size", type=int, metavar="N", help="size of the real gallery, if this is a sample")
    own(parser.add_argument_group("embeddings, as of benchmarks.replay (.npy or .safetensors files)"))
    return parser


def own(group: argparse._ArgumentGroup) -> None:
    """Add the options for the user's embeddings."""
    for name in ARRAYS:
        group.add_argument(f"--{name.replace('_', '-')}", metavar="FILE")
    add_judgements(group)
    group.add_argument("--transform", help="an additional way: makes query_old from query_new; see benchmarks.replay")
    group.add_argument("--order", default="random", help="an additional order: a file with a permutation (G,)")
    group.add_argument(
        "--scores", metavar="FILE", help="an additional order by scores (G,), such as access counts, highest first"
    )
    group.add_argument("--seeds", type=int, default=1, help="number of random orders (default 1)")
    group.add_argument("--progress", type=float, nargs="+", default=[11.0], help="completion ratios, or their number")
    group.add_argument("--distance", choices=["cosine", "l2"], default="cosine")
    group.add_argument(
        "--train-old", metavar="FILE", help="old embeddings of training images, (N, D_old), for closed-form methods"
    )
    group.add_argument("--train-new", metavar="FILE", help="their new embeddings, (N, D_new)")
    for part in ("query", "gallery"):
        for time in ("old", "new"):
            group.add_argument(
                f"--{part}-ids-{time}", metavar="FILE", help=f"ids of the rows of {part}_{time}, compared"
            )
    group.add_argument("--class-names", metavar="FILE", help="text file with one name per line, of label 0, 1, ...")
    group.add_argument(
        "--query-images", metavar="PATH", help="a folder, or a text file with one path per line, in row order"
    )
    group.add_argument(
        "--queries", type=int, default=1000, help="largest number of queries, drawn at random (default 1000)"
    )
    group.add_argument(
        "--items", type=int, default=5000, help="largest number of gallery items for comparing ways (default 5000)"
    )
    group.add_argument("--seed", type=int, default=0, help="seed of the samples (default 0)")


def check(arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Check arguments without reading the files.

    Args:
        arguments: of the command.
        overrides: unknown options, allowed with a config only.

    Raises:
        InputError: the first wrong argument.
    """
    if overrides and not (arguments.folder and is_config(arguments.folder)):
        raise InputError(f"{overrides[0]}: not known, expected an option of --help, or a config with it")
    given = [name for name in (*ARRAYS, "transform", "train_old", "train_new") if getattr(arguments, name) is not None]
    if arguments.folder is not None and given:
        raise InputError(f"{given[0]}: given beside a folder of results, expected one of them")
    if arguments.folder is None and not given:
        raise InputError("folder: none, and no embeddings, expected results/<benchmark> or --query-new FILE and so on")
    check_seeds(arguments.seeds)
    for name, least in (("queries", 4), ("items", 10), ("gallery_size", 1)):
        if (value := getattr(arguments, name)) is not None and value < least:
            raise InputError(f"{name}: {value}, expected at least {least}")
    if (arguments.gallery_size or 0) > MOST_ITEMS:
        raise InputError(f"gallery_size: more than there are, expected at most {MOST_ITEMS}")
    if arguments.seed < 0:
        raise InputError(f"seed: {arguments.seed}, expected 0 or more")
    if (rate := arguments.items_per_second) is not None and not 1e-9 <= rate <= 1e15:
        raise InputError(f"items_per_second: {rate:g}, expected more than 0, from 1e-9 to 1e15")
    if not 0 < arguments.least_gain < 1:
        raise InputError(f"least_gain: {arguments.least_gain:g}, expected between 0 and 1")
    output = Path(arguments.output)
    if output.suffix != ".html":
        raise InputError(f"output: {output}, expected a .html file")
    for path in (output, output.with_suffix(".md")):
        if path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
            raise InputError(f"output: {path} cannot be written, expected a file")
    check_folder(output.parent)


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.report`."""
    with exit_on_input_error():
        arguments, overrides = parser().parse_known_args(given)
        check(arguments, overrides)
        arguments.overrides = overrides
        arguments.name = (
            arguments.name or Path(arguments.folder or split(arguments.gallery_new or "embeddings")[0]).stem
        )
        from benchmarks.report.write import write  # slow imports: after all other checks

        print(write(arguments))


if __name__ == "__main__":
    main()
