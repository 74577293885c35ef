"""Fetch and unpack the public datasets, and check that a config finds its images.

compat-bench data cifar100
compat-bench data check cifar100
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.artifacts.source import docstring
from benchmarks.config.named import add_config, layers
from benchmarks.config.parse import parse
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError

if TYPE_CHECKING:
    from compat.data import LabelledImages, RetrievalData, Share

# The default folder of each; its description is the docstring of the function of that name in `FETCHERS`.
DATASETS = {
    "cifar100": "data",
    "fashion_mnist": "data",
    "omniglot": "data",
    "imagenet": "data/imagenet",
    "places365": "data/places365",
    "market1501": "data",
}
FETCHERS = "benchmarks.fetch.datasets"


def check(config: list[str], overrides: list[str], decode: bool) -> None:
    """Print the training and search images of a config's models; decode every image.

    Args:
        config: files or names, as for `benchmarks.run`.
        overrides: likewise.
        decode: false leaves out the decoding.

    Raises:
        InputError: any defect of the dataset, or an undecodable image.
    """
    from benchmarks.artifacts.images import dataset

    experiment = parse(config, overrides)
    data = dataset(experiment.data)
    train, gallery, query = data.train_images(augment=False), data.gallery_images(), data.query_images()
    rows = {
        "dataset": experiment.data.class_path,
        "root": experiment.data.init_args.get("root", "none"),
        "training": count(train),
        **{f"{name} sees": seen(data, g.sees) for name, g in experiment.generations.items()},
        "gallery": count(gallery),
        "queries": "the gallery itself" if query is gallery else count(query),
    }
    for name, value in rows.items():
        print(f"{name:12} {value}")
    if data.skipped:
        print(f"{'skipped':12} {len(data.skipped):,} unreadable images, such as {data.skipped[0]}")
    if decode:
        bad = [str(images.images[row]) for images in data.splits().values() for row in images.unreadable()]
        if bad:
            raise InputError(
                f"data: cannot decode {len(bad):,} images ({', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''}), "
                "expected readable image files; get them again, or leave them out by on_error: skip"
            )
    print("OK")


def count(images: LabelledImages) -> str:
    """Describe the numbers of images and classes."""
    return f"{len(images):,} images of {len(images.labels.unique()):,} classes"


def seen(data: RetrievalData, sees: Share) -> str:
    """Describe the images and classes in a model's training data."""
    names = data.class_names(sees)
    return f"{len(data.rows(sees)):,} images of {len(names):,} classes: {names[0]} to {names[-1]}"


def prepare(name: str, root: Path) -> None:
    """Prepare a dataset in `root`, as far as needed, and print the next step."""
    from benchmarks.fetch import datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        print(getattr(datasets, name)(root))
    except OSError as error:
        raise InputError(f"--root: {error}, expected a readable and writable folder") from error
    elsewhere = "" if root == Path(DATASETS[name]) else f" {shlex.quote(f'--data.root={root}')}"
    print(f"Go on with: compat-bench data check {name}{elsewhere}")


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.data`."""
    parser = command_parser("benchmarks.data", __doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, usual in DATASETS.items():
        described = docstring(f"{FETCHERS}.{name}")
        command = commands.add_parser(name, help=described, description=described)
        command.add_argument("--root", default=usual, help="folder of the archives and of the images (%(default)s)")
    described = "Print what a config's models train on and search in, and decode every image."
    command = commands.add_parser("check", help=described, description=described)
    add_config(command)
    command.add_argument(
        "--no-decode", action="store_true", help="skip decoding, which takes minutes for millions of images"
    )
    return parser


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.data`."""
    with exit_on_input_error():
        whole = parser()
        arguments, overrides = whole.parse_known_args(given)
        if arguments.command == "check":
            check(layers(arguments), overrides, decode=not arguments.no_decode)
        elif overrides:
            whole.error(f"unrecognized arguments: {' '.join(overrides)}")
        else:
            from compat.data.checks import expand_path

            prepare(arguments.command, expand_path(arguments.root, "root"))


if __name__ == "__main__":
    main()
