"""The datasets: each a `RetrievalData` that yields image, label and group."""

from compat.data.base import LabelledImages, Part, RetrievalData, Sample
from compat.data.digits import Digits
from compat.data.image_folder import ImageFolder

__all__ = ["Digits", "ImageFolder", "LabelledImages", "Part", "RetrievalData", "Sample"]
