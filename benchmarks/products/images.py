"""The dataset of an experiment, listed once."""

from __future__ import annotations

from functools import cache

from benchmarks.experiment.schema import Sees
from benchmarks.experiment.spec import Spec
from compat.data.base import RetrievalData, Share
from compat.errors import InputError

COMMANDS = {
    "CIFAR100": "cifar100", "FashionMNIST": "fashion_mnist", "ImageNet": "imagenet", "Market1501": "market1501",
    "Omniglot": "omniglot", "Places365": "places365",
}  # fmt: skip


@cache
def dataset(spec: Spec) -> RetrievalData:
    """The dataset of a config.

    Raises:
        InputError: it is not there, or not whole; the message says which command gets it.
    """
    try:
        found: RetrievalData = spec.build(RetrievalData)
    except InputError as error:
        name = COMMANDS.get(spec.class_path.rpartition(".")[2])
        if name is None or not str(error).startswith("data.root"):
            raise
        root = spec.init_args.get("root", "data")
        raise InputError(f"{error}; python -m benchmarks.data {name} --root {root} gets it") from error
    return found


def pixels(data: RetrievalData) -> int:
    """Of all training images, as the model sees them: what a training is worth in threads."""
    images = data.train_images(augment=False)
    return len(images) * images[0].image[0].numel()


def share(sees: Sees) -> Share:
    """What a generation sees, as a dataset knows it."""
    return Share(sees.classes, sees.images)
