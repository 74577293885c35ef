"""The config of a benchmark: its schema is the signatures of the classes that it names."""

from __future__ import annotations

import re
from argparse import ArgumentError
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter, Namespace
from pytorch_lightning import Trainer

from compat.data import RetrievalData
from compat.errors import InputError
from compat.merge import Merge
from compat.methods import SingleModel, Upgrade
from compat.models import Embedder
from compat.orders import Order


@dataclass
class Training:
    """How one embedder is trained.

    Args:
        model: the embedder and how it learns.
        trainer: any argument of Lightning's Trainer; the device is one, unless it says otherwise.
        seed: of the weights, the order of the images and their augmentation.
        checkpoint: weights to use instead of training (.safetensors, .ckpt or .pt).
    """

    model: SingleModel
    trainer: Trainer
    seed: int = 0
    checkpoint: str | None = None


@dataclass
class Heads:
    """How the methods' heads are trained: the same for all methods.

    Args:
        trainer: any argument of Lightning's Trainer.
        batch_size: of cached embeddings, or of images; even, since batches hold pairs of a class.
        images: train through augmented images instead of on cached embeddings (slow).
    """

    trainer: Trainer
    batch_size: int = 1024
    images: bool = False


@dataclass
class Replay:
    """How the backfilling is replayed.

    Args:
        progress: completion ratios in [0, 1], or how many of them, evenly spaced.
        orders: random orders of the gallery for each seed; the lists of a result are means over them.
        distance: cosine, or l2 between embeddings as they are.
        by: name -> class_path and init_args of an order (`compat.orders`); default: random alone.
        merge: name -> class_path and init_args of a merge rule (`compat.merge`); default: raw distances alone. Each
            method is replayed in each order under each rule.
    """

    progress: int | list[float] = 11
    orders: int = 5
    distance: Literal["cosine", "l2"] = "cosine"
    by: dict[str, Order] | None = None
    merge: dict[str, Merge] | None = None


Method = Callable[[Embedder, Embedder], Upgrade]


@dataclass
class Benchmark:
    """One benchmark: train the old and the new model (and a newest), each method's head, replay the backfilling.

    Args:
        name: of the benchmark, and of its folder under `results`.
        data: the dataset.
        old: the old model.
        new: the new model.
        newest: a third generation: a second upgrade, from new to newest, is replayed after the first.
        second_starts: with newest, the progress of the first upgrade at which the second starts, one replay for
            each; 1 is one after the other, less leaves items of all three generations in the gallery.
        heads: the training of the methods' heads.
        side: a model trained on what the old model is trained on, whose embeddings the old system stores beside its
            own: the side-information of methods that take some.
        methods: name -> class_path and init_args of a method.
        replay: the replay of the backfilling.
        seed: of the heads and of the orders; a list runs one after the other.
        only: the methods to run, comma-separated; default all.
        runs: folder of checkpoints, embeddings and logs (git-ignored); finished stages are found there again.
        results: folder of the results.
    """

    name: str
    data: RetrievalData
    old: Training
    new: Training
    heads: Heads
    methods: dict[str, Method]
    newest: Training | None = None
    side: Training | None = None
    second_starts: list[float] = field(default_factory=lambda: [1.0, 0.5])
    replay: Replay = field(default_factory=Replay)
    seed: int | list[int] = 0
    only: str | None = None
    runs: str = "runs"
    results: str = "results"


class _Help(DefaultHelpFormatter):
    """jsonargparse's help without the hundreds of importable subclasses of nn.Module."""

    def _expand_help(self, action: Any) -> str:
        return re.sub(r",? ?known subclasses: [^)]*", "", super()._expand_help(action) or "")


def parser() -> ArgumentParser:
    """The command line of `benchmarks.run`: a config file, then any value of it."""
    command_line = ArgumentParser(
        prog="python -m benchmarks.run CONFIG",
        description="Run one benchmark from its YAML file. Any value can be overridden: --new.trainer.max_epochs=3",
        formatter_class=_Help,
        exit_on_error=False,
    )
    command_line.add_argument("--config", action=ActionConfigFile, help="the YAML file, where it does not come first")
    command_line.add_class_arguments(Benchmark, sub_configs=True)
    command_line.add_argument(
        "--overwrite", action="store_true", help="replace results that were made with another config"
    )
    return command_line


def parse(arguments: list[str]) -> Namespace:
    """Parse and validate `CONFIG [options]` without instantiating anything.

    Raises:
        InputError: an unknown key or class_path, a value of another type, a missing key or file.
    """
    if not arguments:
        raise InputError("config: none, expected a YAML file: python -m benchmarks.run configs/digits.yaml")
    if not arguments[0].startswith("-"):
        arguments = ["--config", *arguments]
    try:
        return parser().parse_args(arguments)
    except (ArgumentError, UnicodeDecodeError) as error:
        raise InputError(f"{_one_line(error)}; expected what --help and --<key>.help name") from error


def as_dict(config: Any) -> Any:
    """A parsed config as plain JSON values: enumerations by name, paths as text."""
    if isinstance(config, Namespace):
        config = {key: value for key, value in config.as_dict().items() if key != "config"}
    if isinstance(config, dict):
        return {key: as_dict(value) for key, value in config.items() if key != "__path__"}
    if isinstance(config, (list, tuple)):
        return [as_dict(value) for value in config]
    if isinstance(config, Enum):
        return config.name
    return config if isinstance(config, (str, int, float, bool, type(None))) else str(config)


def build(kind: Any, spec: dict[str, Any]) -> Any:
    """Instantiate what a part of the config describes.

    Args:
        kind: the declared type.
        spec: class_path and init_args, as plain values.

    Raises:
        InputError: the constructor refuses its arguments.
    """
    one = ArgumentParser(exit_on_error=False)
    one.add_argument("--value", type=kind)
    try:
        return one.instantiate(one.parse_object({"value": spec})).value
    except InputError:
        raise
    except Exception as error:  # whatever a constructor raises for arguments that it does not like
        found = f"{type(error).__name__}: {_one_line(error)}"
        raise InputError(
            f"{spec.get('class_path', kind)}: cannot be built ({found}), expected fitting init_args"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
