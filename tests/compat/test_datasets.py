"""The datasets on small copies of their layouts: what is read, what is refused, Market-1501's rules by hand."""

import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.artifacts.images import dataset
from benchmarks.config.spec import Spec
from compat.data import (
    CIFAR100,
    FashionMNIST,
    ImageFolder,
    ImageNet,
    LabelledImages,
    Market1501,
    Omniglot,
    Places365,
    RetrievalData,
    Share,
)
from compat.data.transforms import NormalizedTensor
from compat.errors import InputError
from tests.helpers.layouts import (
    CATEGORIES,
    WNIDS,
    write_cifar100,
    write_fashion_mnist,
    write_imagenet,
    write_images,
    write_market1501,
    write_omniglot,
    write_places365,
)

SMALL: dict[Any, Any] = {
    CIFAR100: (write_cifar100, {}),
    FashionMNIST: (write_fashion_mnist, {"image_size": 32}),
    ImageNet: (write_imagenet, {"image_size": 32}),
    Places365: (write_places365, {"image_size": 32}),
}


def read(kind, root, **options) -> RetrievalData:
    write, size = SMALL[kind]
    write(root)
    return kind(root=str(root), verify=False, **size, **options)


@pytest.mark.parametrize("kind", SMALL)
def test_the_gallery_is_the_test_split_and_each_query_ignores_itself_only(kind, tmp_path):
    data = read(kind, tmp_path)
    train, gallery = data.train_images(augment=False), data.gallery_images()
    assert (len(train), len(gallery)) == (24, 12)
    assert data.query_images() is gallery
    assert gallery.groups.tolist() == list(range(12))
    assert gallery.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert train.labels.bincount().tolist() == [6] * 4
    assert (
        train[0].image.shape == gallery[0].image.shape == data.train_images(augment=True)[0].image.shape == (3, 32, 32)
    )
    assert data.rows(Share(0.5)).tolist() == list(range(12))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (CIFAR100, ["class_0", "class_1"]),
        (FashionMNIST, ["T-shirt/top", "Trouser"]),
        (ImageNet, WNIDS[:2]),
        (Places365, CATEGORIES[:2]),
    ],
)
def test_the_first_half_of_the_classes_is_by_number(kind, names, tmp_path):
    assert read(kind, tmp_path).class_names(Share(0.5)) == names


@pytest.mark.parametrize("kind", SMALL)
def test_several_images_at_once_are_the_same_as_one_by_one(kind, tmp_path):
    gallery = read(kind, tmp_path).gallery_images()
    for several, index in zip(gallery.__getitems__([3, 0, 7]), (3, 0, 7), strict=True):
        for together, alone in zip(several, gallery[index], strict=True):
            assert torch.equal(together, alone)


def test_the_pixels_are_those_of_the_files(tmp_path):
    data = read(CIFAR100, tmp_path)
    row = pickle.loads((tmp_path / "cifar-100-python/test").read_bytes())["data"][5]
    assert (np.array(data.gallery_images().images[5]).transpose(2, 0, 1).ravel() == row).all()


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        (CIFAR100, "has another checksum"),
        (FashionMNIST, "has another checksum"),
        (ImageNet, r"4 classes in .* expected the protocol's 1,000"),
        (Places365, "has another checksum"),
    ],
)
def test_another_dataset_than_the_published_one_is_refused(kind, count, tmp_path):
    write, _ = SMALL[kind]
    write(tmp_path)
    with pytest.raises(InputError, match=count):
        kind(root=str(tmp_path))


def test_wrong_counts_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("compat.data.cifar.check_integrity", lambda path, checksum: True)
    monkeypatch.setattr("compat.data.places.check_integrity", lambda path, checksum: True)
    write_cifar100(tmp_path / "cifar"), write_places365(tmp_path / "places"), write_market1501(tmp_path)
    with pytest.raises(InputError, match=r"24 training images in .*cifar, expected the protocol's 50,000"):
        CIFAR100(str(tmp_path / "cifar"))
    with pytest.raises(InputError, match=r"4 classes in .*places, expected the protocol's 365"):
        Places365(str(tmp_path / "places"))
    with pytest.raises(InputError, match=r"24 training images in .*, expected the protocol's 12,936"):
        Market1501(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (CIFAR100, "cifar100"),
        (FashionMNIST, "fashion_mnist"),
        (Omniglot, "omniglot"),
        (ImageNet, "imagenet"),
        (Places365, "places365"),
        (Market1501, "market1501"),
    ],
)
def test_absent_data_says_how_to_get_it(kind, command, tmp_path):
    with pytest.raises(InputError, match=rf"^data.root: .*{tmp_path}/none.*expected .*[^:]$") as error:
        kind(root=f"{tmp_path}/none")
    assert "benchmarks" not in str(error.value)
    spec = Spec({"class_path": f"compat.data.{kind.__name__}", "root": f"{tmp_path}/none"})
    with pytest.raises(InputError, match=f"; compat-bench data {command} --root {tmp_path}/none gets it$") as error:
        dataset(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [ImageNet, Places365, Market1501, CIFAR100, FashionMNIST, Omniglot])
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_root_without_permission_is_named(kind, tmp_path):
    for write in (
        write_market1501,
        write_cifar100,
        write_imagenet,
        write_places365,
        write_fashion_mnist,
        write_omniglot,
    ):
        write(tmp_path)
    tmp_path.chmod(0)
    try:
        with pytest.raises(InputError, match="no permission to read"):
            kind(root=str(tmp_path), verify=False)
    finally:
        tmp_path.chmod(0o755)


def test_no_permission_is_one_line_whoever_runs_this(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("compat.data.imagenet.list_classes", refuse)
    with pytest.raises(InputError, match=f"data.root: no permission to read {tmp_path}, expected"):
        ImageNet(str(tmp_path))


def test_a_half_unpacked_imagenet_is_refused(tmp_path):
    write_imagenet(tmp_path)
    shutil.rmtree(tmp_path / "val" / WNIDS[3])
    with pytest.raises(InputError, match=f"class '{WNIDS[3]}' is in one of"):
        ImageNet(str(tmp_path), verify=False)
    for image in (tmp_path / "train" / WNIDS[3]).iterdir():
        image.unlink()
    with pytest.raises(InputError, match=WNIDS[3]):
        ImageNet(str(tmp_path), verify=False)


def test_a_listed_image_that_is_not_there_is_named(tmp_path):
    data = read(Places365, tmp_path)
    gone = tmp_path / "val_256/Places365_val_00000002.jpg"
    gone.unlink()
    with pytest.raises(
        InputError, match=re.escape(f"{gone} (No such file or directory), expected a file; is the archive")
    ):
        data.fingerprint()
    shutil.rmtree(tmp_path / "val_256")
    with pytest.raises(InputError, match="val_256"):
        Places365(str(tmp_path), verify=False)


def test_a_class_without_training_images_is_named(tmp_path):
    write_places365(tmp_path)
    with (tmp_path / "categories_places365.txt").open("a") as categories:
        categories.write("/z/zoo 4\n")
    with pytest.raises(InputError, match="class '/z/zoo' has no training image"):
        Places365(str(tmp_path), verify=False)


@pytest.mark.parametrize("broken", [b"no pickle", b""])
def test_a_damaged_pickle_is_one_line(broken, tmp_path):
    write_cifar100(tmp_path)
    (tmp_path / "cifar-100-python/train").write_bytes(broken)
    with pytest.raises(InputError, match="cannot read") as error:
        CIFAR100(str(tmp_path), verify=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("train", {"fine_labels": [0, 1, 9]}, r"label 9 in .*/train, expected 0 to 3"),
        ("test", {"fine_labels": [0, -1, 2]}, r"label -1 in .*/test, expected 0 to 3"),
        (
            "train",
            {"fine_labels": [0, 1]},
            r"labels int64 of shape \(2,\) in .*/train, expected integers, one for each",
        ),
        ("train", {"fine_labels": None}, r"labels object of shape \(\)"),
        ("train", {"fine_labels": ["a", "b", "c"]}, r"labels <U1 of shape \(3,\)"),
        ("test", {"data": np.zeros((3, 3072))}, r"images float64 of shape \(3, 3072\) in .*/test, expected uint8"),
        ("test", {"data": np.zeros((3, 100), np.uint8)}, r"images uint8 of shape \(3, 100\)"),
        ("test", {"data": Path("x")}, r"a pickle calling pathlib\S*.PosixPath, expected CIFAR-100's arrays"),
    ],
)
def test_another_pickle_than_cifar_100_s_is_one_line(part, changes, words, tmp_path):
    file = write_cifar100(tmp_path) / "cifar-100-python" / part
    content = pickle.loads(file.read_bytes())
    content = {"data": content["data"][:3], "fine_labels": [0, 1, 2]} | changes
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=rf"^data.root: {words}[^\n]*$"):
        CIFAR100(str(tmp_path), verify=False)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_are_read(protocol, tmp_path):
    expected = read(CIFAR100, tmp_path).gallery_images()
    file = tmp_path / "cifar-100-python/test"
    content = pickle.loads(file.read_bytes())
    content["fine_labels"] = [np.int64(label) for label in content["fine_labels"]]
    old = pickle.dumps(content, protocol)
    file.write_bytes(old.replace(b"numpy._core.", b"numpy.core.") if protocol < 4 else old)  # as NumPy 1 writes it
    found = CIFAR100(str(tmp_path), verify=False).gallery_images()
    assert found.fingerprint == expected.fingerprint


def test_a_pickle_runs_nothing(tmp_path):
    file = write_cifar100(tmp_path) / "cifar-100-python/meta"
    file.write_bytes(b"cbuiltins\nexit\n(I3\ntR.")
    with pytest.raises(InputError, match=r"a pickle calling builtins.exit"):
        CIFAR100(str(tmp_path), verify=False)


@pytest.mark.parametrize(
    ("labels", "words"), [([0, 7], "label 7 of a training"), ([0, -1], "label -1"), ([0], "1 labels")]
)
def test_labels_that_do_not_fit_are_one_line(labels, words):
    images = LabelledImages(np.zeros((2, 8, 8), np.uint8), labels, NormalizedTensor([0.5], [0.5]))
    with pytest.raises(InputError, match=f"^data.root: {words}"):
        RetrievalData().hold(images, images, NormalizedTensor([0.5], [0.5]), class_names=["a", "b"])


@pytest.mark.parametrize("root", ["{}/", "{}/../{name}", ".", "../{name}"])
def test_the_root_may_be_spelled_as_one_likes(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in (ImageNet, Places365):
        SMALL[kind][0](tmp_path)
        data = kind(root.format(tmp_path, name=tmp_path.name), image_size=32, verify=False)
        assert data.gallery_images()[11].image.shape == (3, 32, 32)


@pytest.mark.parametrize("kind", [CIFAR100, FashionMNIST, ImageFolder, ImageNet, Market1501, Omniglot, Places365])
def test_the_root_of_no_such_user_is_one_line(kind):
    with pytest.raises(InputError, match=r"^data.root: ~no-such-user/x \(.*home directory\), expected a folder$"):
        kind("~no-such-user/x")


def test_the_home_directory_may_be_a_root(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_images(tmp_path / "data", "train", ["a", "b"], 2)
    write_images(tmp_path / "data", "val", ["a", "b"], 1)
    assert ImageFolder("~/data", image_size=8).gallery_images()[1].image.shape == (3, 8, 8)


def test_an_image_folder_without_permission_is_one_line(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "train").mkdir()
    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(InputError, match="no permission to read"):
        ImageFolder(str(tmp_path))
