"""Image files: the pixels are PIL's, whoever decodes them."""

import io
import os
import zlib
from collections.abc import Mapping
from types import MappingProxyType

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


GRAY = np.tile(np.linspace(0, 255, 64).round().astype(np.uint8), (48, 1))


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_gray_of_16_bits_is_that_of_8(tmp_path, kind, order):
    values = GRAY.astype(np.uint16) * 257
    deep = Image.frombytes("I;16" if order == "<u2" else "I;16B", values.shape[::-1], values.astype(order).tobytes())
    if kind in ("PPM", "JPEG2000"):
        deep = Image.fromarray(values)
    pixels = read_pixels(written(tmp_path, deep, kind))
    assert (pixels.shape, pixels.dtype, pixels.flags.writeable) == ((*GRAY.shape, 3), np.uint8, True)
    assert np.abs(pixels.astype(int) - GRAY[..., None]).max() <= 1


def tiff(values: np.ndarray, bits: int, photometric: int, further: Mapping[int, int] = MappingProxyType({})) -> bytes:
    """A TIFF of one uncompressed strip of gray values; those of 12 bits are packed, two in three bytes."""
    data = values.astype("u1" if bits == 8 else "<u2").tobytes()
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(np.uint32)
        data = ((pairs[:, 0] << 12) | pairs[:, 1]).astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    tags = {256: values.shape[1], 257: values.shape[0], 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1}
    tags |= {278: values.shape[0], 279: len(data), **further}
    entries = [
        np.array([tag, 4], "<u2").tobytes() + np.array([1, value], "<u4").tobytes() for tag, value in tags.items()
    ]
    head = b"II*\0" + np.array([8 + len(data)], "<u4").tobytes()
    return head + data + np.array([len(tags)], "<u2").tobytes() + b"".join(entries) + bytes(4)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("photometric", [0, 1])
def test_white_of_a_tiff_is_what_its_tags_say(tmp_path, bits, photometric):
    if (bits, photometric) == (12, 0):
        pytest.skip("PIL refuses it")
    (tmp_path / "image").write_bytes(tiff((GRAY / 255 * (2**bits - 1)).round(), bits, photometric))
    expected = GRAY if photometric else 255 - GRAY
    assert np.abs(read_pixels(tmp_path / "image")[..., 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_without_a_known_white_are_refused(tmp_path, dtype):
    path = written(tmp_path, Image.fromarray(GRAY.astype(dtype)), "TIFF")
    with pytest.raises(InputError, match=rf"image {path} \(values of mode [IF], whose black and white are not known\)"):
        read_pixels(path)


def test_floats_and_signed_values_are_refused_whatever_the_ending(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"Pf\n4 1\n-1.0\n" + np.linspace(0, 1, 4, dtype="<f4").tobytes())
    with pytest.raises(InputError, match=r"a.pgm \(values of mode F, whose black and white are not known\)"):
        read_pixels(tmp_path / "a.pgm")
    for bits, values in ((8, "signed values"), (16, "values of mode I")):
        whole = tiff(np.zeros((4, 4)), bits, 1, {339: 2})
        (tmp_path / "a.tif").write_bytes(whole)
        with pytest.raises(InputError, match=rf"a.tif \({values}, whose black and white are not known\)"):
            read_pixels(tmp_path / "a.tif")


@pytest.mark.filterwarnings("error")
def test_transparency_is_dropped_without_a_word(tmp_path):
    image = photo().convert("P")
    path = written(tmp_path, image, "PNG", transparency=bytes(range(256)))
    np.testing.assert_array_equal(read_pixels(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_its_first_frame(tmp_path, kind):
    first, *others = (Image.new("RGB", (12, 9), colour) for colour in ("red", "blue", "green"))
    path = written(tmp_path, first, kind, save_all=True, append_images=others)
    assert np.abs(read_pixels(path).astype(int) - [255, 0, 0]).max() <= 5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "a page of the web"),
        (b"\xef\xbb\xbf\n<html>", "a page of the web"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "a drawing in SVG"),
        (b'<?xml version="1.0"?><svg/>', "XML, such as a drawing in SVG"),
        (b"PK\3\4", "a zip archive"),
        (b"not an image", "damaged, or of no known format"),
        (b"\x89PNG", "damaged, or of no known format"),
    ],
)
def test_what_another_file_is_is_said(tmp_path, content, reason):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"cannot read the image {tmp_path}/a.png \({reason}[^<>]*\); expected"):
        read_pixels(tmp_path / "a.png")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for name, reason in {"pipe": "no regular file", "gone": "No such file", "loop": "Too many levels"}.items():
        with pytest.raises(InputError, match=rf"cannot read the image .*{name}.jpg \(.*{reason}"):
            read_pixels(tmp_path / f"{name}.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, kind):
    content = bytearray(written(tmp_path, photo(), kind).read_bytes())
    if kind == "JPEG":
        at = content.index(b"\xff\xc0") + 5
        content[at : at + 4] = bytes([0xFF, 0xDC] * 2)
    else:
        content[16:24] = np.array([65500, 65500], ">u4").tobytes()
        content[29:33] = np.array([zlib.crc32(content[12:29])], ">u4").tobytes()
    (tmp_path / "image").write_bytes(content)
    with pytest.raises(InputError, match="decompression bomb"):
        read_pixels(tmp_path / "image")


def test_a_name_that_is_not_utf8_is_one_as_any_other(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    written(tmp_path, photo(), "JPEG").rename(tmp_path / name)
    images = LabelledImages([name], [0], Centre(32, 32), root=tmp_path)
    assert images[0].image.shape == (3, 32, 32)
    assert len(images.fingerprint) == 64
    assert images.unreadable() == []


def outcome(path):
    try:
        return read_pixels(path), ""
    except InputError as error:
        return None, str(error)


FORMATS = {
    "JPEG": photo(), "PNG": photo(), "GIF": photo(), "BMP": photo(), "PPM": photo(), "TIFF": photo(), "WEBP": photo(),
    "deep PNG": Image.fromarray(GRAY.astype(np.uint16) * 257), "palette PNG": photo().convert("P"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_right_or_one_line(tmp_path, kind):
    """PNG has checksums, so what is read of it is right; of other formats it is what PIL makes of the damage."""
    whole = written(tmp_path, FORMATS[kind], kind.split()[-1]).read_bytes()
    right, random = read_pixels(tmp_path / "image"), np.random.default_rng(0)
    for _ in range(150):
        content = bytearray(whole)
        if random.random() < 0.3:
            del content[int(random.integers(len(whole))) :]
        for place in random.integers(0, max(len(content), 1), random.integers(0, 4)):
            if content:
                content[place] ^= 1 << int(random.integers(8))
        (tmp_path / "image").write_bytes(content)
        found, message = outcome(tmp_path / "image")
        if found is None:
            assert message.startswith(f"data: cannot read the image {tmp_path}/image (")
            assert "\n" not in message
            continue
        assert (found.ndim, found.shape[2], found.dtype) == (3, 3, np.uint8)
        if kind.endswith("PNG"):
            np.testing.assert_array_equal(found, right)
        elif Image.open(io.BytesIO(content)).mode != "I;16":
            np.testing.assert_array_equal(found, by_pil(io.BytesIO(content)))
