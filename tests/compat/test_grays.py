"""Fashion-MNIST and Omniglot on small copies of their layouts: what is read, what is refused."""

import gzip
import shutil

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from compat.data import FashionMNIST, Omniglot, Share
from compat.data.fashion import FILES
from compat.data.grays import resized
from compat.errors import InputError
from tests.helpers.layouts import idx, save, write_fashion_mnist, write_omniglot

BACKGROUND = ["Tifinagh/character01", "Greek/character02", "Greek/character03", "Latin/character10"]


def refused(kind, root, *words, **options):
    """One line with the words in it."""
    with pytest.raises(InputError) as error:
        kind(str(root), **{"verify": False, **options})
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), error.value


def test_fashion_mnist_is_what_torchvision_reads(tmp_path):
    write_fashion_mnist(tmp_path)
    data = FashionMNIST(str(tmp_path), verify=False)
    for images, train in ((data.train_images(augment=False), True), (data.gallery_images(), False)):
        original = torchvision.datasets.FashionMNIST(tmp_path, train=train)
        assert (images.images == original.data.numpy()).all()
        assert images.labels.tolist() == original.targets.tolist()
        gray = (original.data[0] / 255 - 0.286) / 0.353
        assert torch.allclose(images[0].image, gray.expand(3, -1, -1), atol=1e-6)


def test_debian_s_packed_files_are_the_same(tmp_path):
    raw = FashionMNIST(str(write_fashion_mnist(tmp_path / "raw")), verify=False)
    packed = FashionMNIST(str(write_fashion_mnist(tmp_path / "packed", packed=True)), verify=False)
    assert raw.fingerprint() == packed.fingerprint()


def test_fashion_mnist_is_cut_to_the_first_images_of_each_class(tmp_path):
    write_fashion_mnist(tmp_path)
    whole = FashionMNIST(str(tmp_path), verify=False).train_images(augment=False)
    cut = FashionMNIST(str(tmp_path), verify=False, train_per_class=2).train_images(augment=False)
    assert (cut.images == whole.images[[0, 1, 6, 7, 12, 13, 18, 19]]).all()
    assert cut.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for count in (0, 7):
        refused(FashionMNIST, tmp_path, f"data.train_per_class: {count}, expected 1 to 6", train_per_class=count)


@pytest.mark.parametrize("kind", [FashionMNIST, Omniglot])
def test_a_size_below_one_pixel_is_refused(kind, tmp_path):
    write_fashion_mnist(tmp_path), write_omniglot(tmp_path)
    refused(kind, tmp_path, "data.image_size: 0, expected at least 1 pixel", image_size=0)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "starts with b''"),
        (b"\0\0\x0d\1\0\0\0\1abcd", "expected an IDX file of bytes"),
        (idx(np.zeros((24, 28, 28)))[:-1], "cannot reshape"),
        (idx(np.zeros((0, 28, 28))), "images of shape (0, 28, 28)"),
        (idx(np.zeros((24, 28))), "images of shape (24, 28)"),
        (idx(np.zeros((23, 28, 28))), "images of shape (23, 28, 28) and labels of shape (24,)"),
    ],
)
def test_a_damaged_idx_file_is_named(content, found, tmp_path):
    write_fashion_mnist(tmp_path, packed=True)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    refused(FashionMNIST, tmp_path, found, "expected")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    refused(FashionMNIST, tmp_path, f"cannot read {tmp_path}", "train-images-idx3-ubyte")


def test_a_label_beyond_the_classes_is_named(tmp_path):
    write_fashion_mnist(tmp_path, classes=11)
    refused(FashionMNIST, tmp_path, "label 10 in", "expected 0 to 9")


def test_fashion_mnist_of_other_numbers_is_refused(tmp_path, monkeypatch):
    class AnyMD5:
        def __init__(self, content, usedforsecurity):
            pass

        def hexdigest(self):
            return "right"

    monkeypatch.setattr("hashlib.md5", AnyMD5)
    for name in FILES:
        monkeypatch.setitem(FILES, name, "right")
    write_fashion_mnist(tmp_path)
    refused(FashionMNIST, tmp_path, "24 training images in", "expected the protocol's 60,000", verify=True)


def test_omniglot_is_learned_from_the_first_drawings_and_searched_in_the_others(tmp_path):
    data = Omniglot(str(write_omniglot(tmp_path)), verify=False)
    train, gallery = data.train_images(augment=False), data.gallery_images()
    assert data.query_images() is gallery
    assert train.labels.bincount().tolist() == [14] * 4
    assert gallery.labels.bincount().tolist() == [6] * 4
    assert gallery.groups.tolist() == list(range(24))
    assert train[0].image.shape == data.train_images(augment=True)[0].image.shape == (3, 32, 32)
    folder = tmp_path / "omniglot-py/images_background/Greek/character02"
    for images, row, number in ((train, 14, 1), (train, 27, 14), (gallery, 6, 15), (gallery, 11, 20)):
        paper = Image.open(folder / f"0002_{number:02d}.png").convert("L")
        assert (images.images[row] == resized([255 - np.asarray(paper)], 32)[0]).all()


def test_omniglot_s_characters_have_the_order_of_their_numbers(tmp_path):
    write_omniglot(tmp_path)
    data = Omniglot(str(tmp_path), verify=False)
    assert data.class_names(Share()) == BACKGROUND
    assert data.class_names(Share(0.5)) == BACKGROUND[:2]
    both = Omniglot(str(tmp_path), evaluation=True, verify=False)
    assert both.class_names(Share()) == [*BACKGROUND, "Angelic/character965", "Angelic/character966"]
    assert (both.train_images(augment=False).images[:56] == data.train_images(augment=False).images).all()


def test_an_image_folder_of_omniglot_is_read_alike(tmp_path):
    write_omniglot(tmp_path / "whole")
    for path in (tmp_path / "whole/omniglot-py/images_background").rglob("*.png"):
        split = "val" if int(path.stem[-2:]) > 14 else "train"
        folder = tmp_path / "folder" / split / f"{path.parts[-3]}_{path.parts[-2]}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    whole, folder = (Omniglot(str(tmp_path / root), verify=False) for root in ("whole", "folder"))
    assert whole.fingerprint() == folder.fingerprint()
    assert folder.class_names(Share()) == [name.replace("/", "_") for name in BACKGROUND]


def test_omniglot_of_other_numbers_is_refused(tmp_path):
    write_omniglot(tmp_path)
    refused(Omniglot, tmp_path, "4 characters in", "expected the protocol's 964", verify=True)
    refused(Omniglot, tmp_path, "6 characters in", "expected the protocol's 1,623", verify=True, evaluation=True)
    shutil.rmtree(tmp_path / "omniglot-py/images_evaluation")
    refused(Omniglot, tmp_path, "no image in", "images_evaluation", evaluation=True)


@pytest.mark.parametrize("name", ["photo.png", "12_01.png", "0001_1.png"])
def test_an_omniglot_name_that_does_not_parse_is_named(name, tmp_path):
    write_omniglot(tmp_path)
    save(tmp_path / "omniglot-py/images_background/Greek/character02" / name, np.zeros((105, 105), np.uint8))
    refused(Omniglot, tmp_path, f"character02/{name} is not named as Omniglot's images, expected 0001_01.png")


def test_a_character_without_drawings_to_learn_from_is_named(tmp_path):
    write_omniglot(tmp_path)
    for path in (tmp_path / "omniglot-py/images_background/Latin").rglob("0010_0*.png"):
        path.unlink()
    for path in (tmp_path / "omniglot-py/images_background/Latin").rglob("0010_1[0-4].png"):
        path.unlink()
    refused(Omniglot, tmp_path, "class 'Latin/character10' has no training image")


def test_a_drawing_that_cannot_be_decoded_is_named_or_left_out(tmp_path):
    write_omniglot(tmp_path)
    broken = tmp_path / "omniglot-py/images_background/Greek/character03/0003_20.png"
    broken.write_bytes(b"no image")
    refused(Omniglot, tmp_path, f"cannot read the image {broken}")
    data = Omniglot(str(tmp_path), verify=False, on_error="skip")
    assert data.skipped == [str(broken)]
    assert data.gallery_images().labels.bincount().tolist() == [6, 6, 5, 6]


def test_gray_images_are_shown_as_they_are_at_their_own_size():
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 9), dtype=np.uint8)
    assert (resized(images, 9) == images).all()
    assert resized(np.full((2, 9, 7), 5, np.uint8), 4).tolist() == np.full((2, 4, 4), 5).tolist()
    assert resized([], 4).shape == (0, 4, 4)
