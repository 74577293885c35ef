"""Transforms from a PIL image to a model's input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from compat.errors import InputError

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class NormalizedTensor:
    """Convert a PIL image to a float32 tensor and normalise it; the last step of every transform.

    Equals v2's ToImage, ToDtype(scale=True) and Normalize up to rounding, in a third of their time on small images.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (mean, std))

    def __call__(self, image: Image.Image) -> Tensor:
        """An image -> (3, H, W)."""
        return self.normalize(np.array(image))

    def only_normalizes(self, size: tuple[int, int]) -> bool:
        """Whether an image of this height and width is normalised only, not resized or cropped."""
        return True

    def normalize(self, pixels: np.ndarray) -> Tensor:
        """(..., H, W, 3) uint8 -> (..., 3, H, W)."""
        channels = torch.from_numpy(pixels).movedim(-1, -3)
        values = channels.to(torch.float32, memory_format=torch.contiguous_format)
        return values.div_(255).sub_(self.mean).div_(self.std)


class Views:
    """Several random views of an image, stacked: random colours, then the given transform (SimCLR, arXiv 2002.05709).

    Args:
        transform: random, from a PIL image to a tensor.
        count: how many views.
    """

    def __init__(self, transform: Callable[[Image.Image], Tensor], count: int) -> None:
        self.transform, self.count = transform, count
        jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
        self.colours = v2.Compose([jitter, v2.RandomGrayscale(0.2)])

    def __call__(self, image: Image.Image) -> Tensor:
        """An image -> (count, 3, H, W)."""
        return torch.stack([self.transform(self.colours(image)) for _ in range(self.count)])


def photographs(image_size: int, min_crop: float, resize: int) -> tuple[v2.Transform, Centre]:
    """Build the transforms of ImageNet-style benchmarks.

    Args:
        image_size: side of the model's square input, in pixels.
        min_crop: smallest share of the image's area in a training crop.
        resize: the shorter side before the centre crop of evaluation, in pixels.

    Returns:
        For training: a random crop, resized, flipped or not. For evaluation: the centre.

    Raises:
        InputError: a size below 1, a share outside (0, 1].
    """
    if image_size < 1:
        raise InputError(f"data.image_size: {image_size}, expected at least 1 pixel")
    if not 0 < min_crop <= 1:
        raise InputError(f"data.min_crop: {min_crop}, expected a share in (0, 1]")
    crop = v2.RandomResizedCrop(image_size, scale=(min_crop, 1.0), antialias=True)
    augment = v2.Compose([crop, v2.RandomHorizontalFlip(), NormalizedTensor(IMAGENET_MEAN, IMAGENET_STD)])
    return augment, Centre(resize, image_size)


class Centre(NormalizedTensor):
    """Resize, centre crop, normalise; only normalise images already of this size, as small ones often are.

    Args:
        resize: the shorter side after resizing, in pixels.
        size: side of the crop.
    """

    def __init__(self, resize: int, size: int) -> None:
        super().__init__(IMAGENET_MEAN, IMAGENET_STD)
        self.as_it_is = (size, size) if resize == size else None
        self.steps = v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(size)])

    def __call__(self, image: Image.Image) -> Tensor:
        return super().__call__(image if self.only_normalizes((image.height, image.width)) else self.steps(image))

    def only_normalizes(self, size: tuple[int, int]) -> bool:
        return size == self.as_it_is
