"""Image files: the pixels are PIL's, whoever decodes them."""

import io

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from compat.data.files import read_pixels
from compat.data.images import LabelledImages
from compat.data.transforms import Centre
from compat.errors import InputError

SIZES = [(64, 64), (37, 53), (1, 1), (8, 17)]


def photo(height=37, width=53):
    """Smooth with some noise, as photographs are, so that every part of a decoder has work to do."""
    random = np.random.default_rng(height)
    coarse = Image.fromarray(random.integers(0, 256, (7, 7, 3), dtype=np.uint8)).resize((width, height))
    return Image.fromarray((np.asarray(coarse) // 2 + random.integers(0, 100, (height, width, 3))).astype(np.uint8))


def written(folder, image, kind, **options):
    path = folder / "image"
    image.save(path, kind, **options)
    return path


def by_pil(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def without_pil(monkeypatch):
    """Fails where PIL is asked to decode an image."""

    def refuse(image):
        raise AssertionError("was left to PIL")

    monkeypatch.setattr("compat.data.files._rgb", refuse)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_torchvision_decodes_jpeg_to_pil_s_pixels(tmp_path, without_pil, size, mode, progressive, subsampling):
    image = photo(*size).convert(mode)
    path = written(tmp_path, image, "JPEG", quality=80, progressive=progressive, subsampling=subsampling)
    assert read_pixels(path).shape == (*size, 3)
    np.testing.assert_array_equal(read_pixels(path), by_pil(path))


def test_an_orientation_is_not_applied_as_pil_does_not(tmp_path, without_pil):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = written(tmp_path, photo(), "JPEG", exif=exif)
    np.testing.assert_array_equal(read_pixels(path), by_pil(path))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("CMYK", "JPEG"), *((mode, "PNG") for mode in ("RGB", "L", "P", "RGBA", "LA", "1")), ("RGB", "BMP"), ("P", "GIF")],
)
def test_pil_decodes_everything_else(tmp_path, mode, kind):
    path = written(tmp_path, photo().convert(mode), kind)
    np.testing.assert_array_equal(read_pixels(path), by_pil(path))


def test_pil_decodes_jpeg_where_torchvision_cannot(tmp_path, monkeypatch):
    path = written(tmp_path, photo(), "JPEG")
    monkeypatch.delattr(torchvision.io, "decode_jpeg")
    np.testing.assert_array_equal(read_pixels(path), by_pil(path))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("left", [0, 2, 30, 0.5, 0.98])
def test_a_truncated_file_is_one_line_that_names_it(tmp_path, kind, left):
    path = written(tmp_path, photo(), kind)
    content = path.read_bytes()
    path.write_bytes(content[: left if isinstance(left, int) else round(left * len(content))])
    with pytest.raises(InputError, match=rf"^data: cannot read the image {path} \(.*\); expected a readable") as raised:
        read_pixels(path)
    assert "\n" not in str(raised.value)


def test_damaged_jpeg_is_what_pil_makes_of_it(tmp_path):
    whole = bytearray(written(tmp_path, photo(), "JPEG").read_bytes())
    random, readable = np.random.default_rng(0), 0
    for place in random.integers(0, len(whole), 200):
        content = whole.copy()
        content[place] ^= 1 << int(random.integers(8))
        path = tmp_path / "damaged"
        path.write_bytes(content)
        try:
            expected = by_pil(io.BytesIO(content))
        except Exception:
            with pytest.raises(InputError, match="cannot read the image"):
                read_pixels(path)
        else:
            np.testing.assert_array_equal(read_pixels(path), expected)
            readable += 1
    assert 0 < readable < 200


@pytest.mark.parametrize("others", [(32, 32), (40, 36)])
def test_images_of_a_batch_are_the_same_as_one_by_one_by_pil(tmp_path, others):
    """Those of the size that the model sees are normalised together; one of another size is resized, and all alone."""
    names = []
    for index, (size, mode) in enumerate([((32, 32), "RGB"), ((32, 32), "L"), (others, "RGB")]):
        photo(*size).convert(mode).save(tmp_path / f"{index}.jpg")
        names.append(f"{index}.jpg")
    transform = Centre(32, 32)
    images = LabelledImages(names, [2, 0, 1], transform, root=tmp_path)
    batch = images.__getitems__([2, 0, 1])
    for index, sample in zip([2, 0, 1], batch, strict=True):
        expected = transform(Image.fromarray(by_pil(tmp_path / names[index])))
        assert torch.equal(sample.image, expected)
        assert torch.equal(images[index].image, expected)
        assert (sample.label, sample.group) == ([2, 0, 1][index], index)


def test_resized_images_are_not_taken_for_seen_as_they_are(tmp_path):
    photo(36, 36).save(tmp_path / "image.jpg")
    assert LabelledImages(["image.jpg"], [0], Centre(36, 32), root=tmp_path)[0].image.shape == (3, 32, 32)
