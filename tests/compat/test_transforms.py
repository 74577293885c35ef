"""From a PIL image to what a model sees."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from compat.data.transforms import IMAGENET_MEAN, IMAGENET_STD, NormalizedTensor, photographs
from compat.errors import InputError


def image(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_normalising_equals_torchvision_s():
    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    ours = NormalizedTensor(IMAGENET_MEAN, IMAGENET_STD)(image(12, 20))
    assert ours.shape == (3, 12, 20)
    assert ours.is_contiguous()
    torch.testing.assert_close(ours, torch.Tensor(v2.Compose(steps)(image(12, 20))), rtol=0, atol=1e-6)


def test_photographs_are_cropped_at_random_in_training_and_at_the_centre_in_evaluation():
    augment, plain = photographs(16, min_crop=0.3, resize=20)
    photo = image(40, 60)
    assert augment(photo).shape == plain(photo).shape == (3, 16, 16)
    assert torch.equal(plain(photo), plain(photo))
    assert not torch.equal(augment(photo), augment(photo))


@pytest.mark.parametrize(
    ("size", "crop", "field"), [(0, 0.5, "image_size"), (8, 0.0, "min_crop"), (8, 1.5, "min_crop")]
)
def test_wrong_sizes_are_named(size, crop, field):
    with pytest.raises(InputError, match=f"data.{field}"):
        photographs(size, crop, resize=8)
