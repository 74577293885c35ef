"""Datasets: each a `RetrievalData` yielding image, label and group.

Names in `__all__` are imported on first use.
"""

from typing import TYPE_CHECKING

from compat.lazy import on_first_use

if TYPE_CHECKING:
    from compat.data.base import RetrievalData, Share
    from compat.data.cifar import CIFAR100
    from compat.data.digits import Digits
    from compat.data.disjoint import DisjointQueries
    from compat.data.fashion import FashionMNIST
    from compat.data.fewer import FewerTraining
    from compat.data.image_folder import ImageFolder
    from compat.data.imagenet import ImageNet
    from compat.data.images import LabelledImages, Sample
    from compat.data.market import Market1501
    from compat.data.omniglot import Omniglot
    from compat.data.places import Places365
    from compat.data.training import TrainingImages

__all__ = [
    "CIFAR100",
    "Digits",
    "DisjointQueries",
    "FashionMNIST",
    "FewerTraining",
    "ImageFolder",
    "ImageNet",
    "LabelledImages",
    "Market1501",
    "Omniglot",
    "Places365",
    "RetrievalData",
    "Sample",
    "Share",
    "TrainingImages",
]
PLACES = {
    **dict.fromkeys(("RetrievalData", "Share"), "base"),
    "CIFAR100": "cifar",
    "Digits": "digits",
    "DisjointQueries": "disjoint",
    "FashionMNIST": "fashion",
    "FewerTraining": "fewer",
    "ImageFolder": "image_folder",
    "ImageNet": "imagenet",
    **dict.fromkeys(("LabelledImages", "Sample"), "images"),
    "Market1501": "market",
    "Omniglot": "omniglot",
    "Places365": "places",
    "TrainingImages": "training",
}
__getattr__, __dir__ = on_first_use(__name__, PLACES)
