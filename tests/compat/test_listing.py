"""Which files of an image folder are items: hidden ones, links, endings, names, nested folders."""

import os
import shutil
import unicodedata
import warnings

import numpy as np
import pytest

from compat.data import CIFAR100, ImageFolder, ImageNet, Market1501, Omniglot, Share
from compat.errors import InputError
from tests.helpers.layouts import noise, save, write_images, write_market1501, write_omniglot

LEFT = [
    ".ipynb_checkpoints/{}",
    "@eaDir/{}",
    "__MACOSX/._{}",
    "._{}",
    ".thumbnails/large/{}",
    "Thumbs.db",
    "#recycle/{}",
    "@Recycle/{}",
    "#snapshot/{}",
    "RECYCLER/{}",
    "$RECYCLE.BIN/{}",
    "System Volume Information/{}",
    "__pycache__/{}",
    "_gsdata_/{}",
    "lost+found/{}",
    "~${}",
    "desktop.ini",
]


@pytest.fixture
def root(tmp_path):
    """Two classes with three images each, in train and in val."""
    for split in ("train", "val"):
        write_images(tmp_path, split, ["cat", "dog"], 3)
    return tmp_path


def leave(folder, image):
    """Put what desktops and notebooks leave beside an image, as copies of it."""
    for left in LEFT:
        copy = folder / left.format(image.name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, copy)


def listed(data):
    return [data.train_images(False).images.tolist(), data.gallery_images().images.tolist(), data.class_names(Share())]


def messages(kind, *arguments, **options):
    """What is warned of while a dataset is read."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        kind(*arguments, **options)
    return [str(warning.message) for warning in told]


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("kind", [ImageFolder, ImageNet])
def test_hidden_files_and_folders_are_neither_classes_nor_items(root, kind):
    options = {"verify": False} if kind is ImageNet else {}
    before = listed(kind(str(root), **options))
    for split in ("train", "val"):
        leave(root / split, root / split / "cat/0_0.png")
        leave(root / split / "dog", root / split / "dog/1_0.png")
    assert listed(kind(str(root), **options)) == before


@pytest.mark.filterwarnings("error::UserWarning")
def test_hidden_files_are_no_drawings_and_no_shots(tmp_path):
    write_omniglot(tmp_path), write_market1501(tmp_path)
    drawings = [len(images) for images in Omniglot(str(tmp_path), verify=False).splits().values()]
    shots = listed(Market1501(str(tmp_path), verify=False))
    background = tmp_path / "omniglot-py/images_background"
    leave(background / "Greek/character02", background / "Greek/character02/0002_01.png")
    query = tmp_path / "Market-1501-v15.09.15/query"
    leave(query, query / "0001_c1s1_001051_00.jpg")
    assert [len(images) for images in Omniglot(str(tmp_path), verify=False).splits().values()] == drawings
    assert listed(Market1501(str(tmp_path), verify=False)) == shots


def test_files_left_out_by_their_ending_are_told(root):
    for name in ("cat/a.gif", "cat/b.GIF", "dog/c.avif", "dog/notes", "stray.png"):
        (root / "val" / name).write_bytes(b"")
    (message,) = messages(ImageFolder, str(root))
    assert message.startswith(f"data.root: 5 files in {root}/val are left out (2 .gif, ")
    assert all(kind in message for kind in ("1 .png", "1 .avif", "1 without an ending", "expected images in class"))
    for number in range(9):
        (root / "train/cat" / f"0.x{number}").write_bytes(b"")
    assert "9 files in" in (message := messages(ImageFolder, str(root))[0])
    assert message.count(".x") == 5
    assert "...)" in message


def test_market_and_omniglot_tell_what_they_leave_out(tmp_path):
    write_omniglot(tmp_path), write_market1501(tmp_path)
    (tmp_path / "omniglot-py/images_background/Greek/character02/0002_01.bmp").write_bytes(b"")
    (tmp_path / "Market-1501-v15.09.15/query/0001_c1s1_001051_00.png").write_bytes(b"")
    for kind, words in ((Omniglot, "(1 .bmp), expected .png files"), (Market1501, "(1 .png), expected .jpg files")):
        (message,) = messages(kind, str(tmp_path), verify=False)
        assert words in message


@pytest.mark.filterwarnings("error::UserWarning")
def test_endings_are_read_in_any_case(root, tmp_path):
    for split in ("train", "val"):
        for number, ending in enumerate((".PNG", ".Jpg", ".JPEG", ".WebP")):
            save(root / split / "cat" / f"9_{number}{ending}", noise(np.random.default_rng(0), 0))
    data = ImageFolder(str(root), image_size=8)
    assert len(data.gallery_images()) == 6 + 4
    assert data.gallery_images().unreadable() == []


@pytest.mark.filterwarnings("error::UserWarning")
def test_links_are_followed_and_loops_refused(root):
    shutil.move(root / "val/cat", root / "elsewhere")
    (root / "val/cat").symlink_to("../elsewhere")
    (root / "val/dog/more").symlink_to("../../elsewhere")
    with pytest.warns(UserWarning, match="made of 2 folders"):
        assert len(ImageFolder(str(root)).gallery_images()) == 3 + 6
    for link, target in (("val/dog/more", ".."), ("val/loop", "."), ("train/cat/up", str(root))):
        if os.path.islink(root / "val/dog/more"):
            os.unlink(root / "val/dog/more")
        (root / link).symlink_to(target)
        with pytest.raises(InputError, match="is a link to a folder above it, expected no such link"):
            ImageFolder(str(root))
        (root / link).unlink()


@pytest.mark.parametrize("back", ["val/cat", "val", "x"])
def test_a_loop_of_several_links_is_refused(root, back):
    for name in ("x", "y"):
        (root / name).mkdir()
    (root / "val/cat/more").symlink_to(root / "x")
    (root / "x/further").symlink_to(root / "y")
    (root / "y/back").symlink_to(root / back)
    with pytest.raises(InputError, match=r"val/cat/more/further/back is a link to a folder above it"):
        ImageFolder(str(root))


def test_names_of_classes_that_look_alike_are_told(root):
    assert messages(ImageFolder, str(root)) == []
    for split, name in (("train", "Caf\u00e9"), ("val", unicodedata.normalize("NFD", "Caf\u00e9")), ("val", "Dog")):
        write_images(root, split, [name], 2)
    (message,) = messages(ImageFolder, str(root))
    assert "2 names of classes differ from another only in case or in how letters are composed (NFC, NFD)" in message
    assert message.isascii()


PLACES = ["airfield", "apartment_building/indoor", "apartment_building/outdoor", "bakery/shop"]


@pytest.mark.filterwarnings("error::UserWarning")
def test_nested_classes_are_named_by_their_path(tmp_path):
    for split in ("train", "val"):
        write_images(tmp_path, split, PLACES, 2)
    data = ImageFolder(str(tmp_path), nested=True)
    assert data.class_names(Share()) == PLACES
    assert data.gallery_images().labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    with pytest.warns(UserWarning, match="class 'apartment_building' in .*/(train|val) is made of 2 folders, such as"):
        data = ImageFolder(str(tmp_path))
    assert data.class_names(Share()) == ["airfield", "apartment_building", "bakery"]


def test_nested_is_advised_only_where_it_is_an_option(tmp_path):
    for split in ("train", "val"):
        write_images(tmp_path, split, PLACES, 2)
    assert all("data.nested" in message for message in messages(ImageFolder, str(tmp_path)))
    for message in (told := messages(ImageNet, str(tmp_path), verify=False)):
        assert message.endswith(
            "is made of 2 folders, such as apartment_building/indoor and apartment_building/outdoor"
        )
    assert len(told) == 2


def write_cifar_folders(root, size=32):
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("apple", "bear")):
            for number in range(count):
                save(
                    root / split / name / f"{number:04d}.png", noise(np.random.default_rng(number), label, (size, size))
                )


@pytest.mark.filterwarnings("error::UserWarning")
def test_cifar_100_is_read_from_folders_of_png(tmp_path):
    write_cifar_folders(tmp_path)
    data = CIFAR100(str(tmp_path), verify=False)
    assert data.class_names(Share()) == ["apple", "bear"]
    assert data.train_images(False).labels.tolist() == [0] * 4 + [1] * 4
    expected = noise(np.random.default_rng(1), 1)
    np.testing.assert_array_equal(data.gallery_images().images[3], expected)
    folders = ImageFolder(str(tmp_path), image_size=32)
    assert folders.gallery_images().images.tolist() == [
        f"test/{c}/{n:04d}.png" for c in ("apple", "bear") for n in (0, 1)
    ]


def test_folders_of_png_named_by_numbers_are_in_their_order(tmp_path):
    for split in ("train", "test"):
        for name in ("0", "10", "2", "11"):
            save(tmp_path / split / name / "0.png", np.full((32, 32, 3), int(name), np.uint8))
    data = CIFAR100(str(tmp_path), verify=False)
    assert data.class_names(Share()) == ["0", "2", "10", "11"]
    assert data.gallery_images().images[:, 0, 0, 0].tolist() == [0, 2, 10, 11]


def test_folders_of_png_that_are_not_cifar_100_are_refused(tmp_path):
    write_cifar_folders(tmp_path)
    with pytest.raises(InputError, match=r"8 training images in .*, expected the protocol's 50,000"):
        CIFAR100(str(tmp_path))
    (tmp_path / "test/bear/0001.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"cannot read the image .*test/bear/0001.png"):
        CIFAR100(str(tmp_path), verify=False)
    assert CIFAR100(str(tmp_path), verify=False, on_error="skip").skipped == ["test/bear/0001.png"]
    save(tmp_path / "test/bear/0001.png", np.zeros((20, 24, 3), np.uint8))
    with pytest.raises(InputError, match="has 24x20 pixels, expected 32x32"):
        CIFAR100(str(tmp_path), verify=False)
    shutil.rmtree(tmp_path / "test/bear")
    with pytest.raises(InputError, match="class 'bear' is in one of train and test"):
        CIFAR100(str(tmp_path), verify=False)


def test_names_that_are_not_utf8_are_read_and_shown_as_escapes(root):
    name = os.fsdecode(b"caf\xe9")
    for split in ("train", "val"):
        os.rename(root / split / "cat", root / split / name)
    (root / "val" / name / "0_0.png").rename(root / "val" / name / f"{name}.png")
    (root / "val" / name / "0_1.png").write_bytes(b"no image")
    data = ImageFolder(str(root), image_size=8, on_error="skip")
    assert data.class_names(Share()) == [r"caf\xe9", "dog"]
    assert data.skipped == [r"val/caf\xe9/0_1.png"]
    assert data.fingerprint()
    assert len(data.gallery_images().__getitems__([0, 1])) == 2
