"""The datasets: each a `RetrievalData` that yields image, label and group."""

from compat.data.base import RetrievalData, Share
from compat.data.cifar import CIFAR100
from compat.data.digits import Digits
from compat.data.fashion import FashionMNIST
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
    "FashionMNIST",
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
