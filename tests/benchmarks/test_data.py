"""`python -m benchmarks.data` on archives that the tests make, without a network."""

import gzip
import hashlib
import pickle
import shutil
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from benchmarks import data as command
from benchmarks.fetch import archives
from benchmarks.fetch import datasets as fetched
from tests.helpers.layouts import pack, read, write_fashion_mnist, write_omniglot
from tests.helpers.running import refused


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def offline(monkeypatch):
    """Downloads fail; the list holds the URLs that were asked for."""
    asked = []

    def download(url, *_):
        asked.append(url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(archives, "download_url", download)
    return asked


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """CIFAR-100's archive with 3 training images and 2 test images."""

    def part(count):
        return pickle.dumps({"data": np.zeros((count, 3072), np.uint8), "fine_labels": [0] * count})

    files = {"train": part(3), "test": part(2), "meta": pickle.dumps({"fine_label_names": ["apple"]})}
    archive = pack(tmp_path / "cifar-100-python.tar.gz", {f"cifar-100-python/{name}": files[name] for name in files})
    source = datasets.CIFAR100
    monkeypatch.setattr(source, "tgz_md5", md5(archive.read_bytes()))
    monkeypatch.setattr(source, "train_list", [["train", md5(files["train"])]])
    monkeypatch.setattr(source, "test_list", [["test", md5(files["test"])]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5(files["meta"])})
    return archive


def test_cifar_is_unpacked_from_an_archive_that_is_there(run, offline, cifar):
    code, out, _ = run("cifar100", "--root", cifar.parent)
    assert code == 0
    assert out == [
        f"{cifar.parent}/cifar-100-python: 3 training and 2 test images",
        f"Go on with: compat-bench data check cifar100 --data.root={cifar.parent}",
    ]
    cifar.unlink()
    assert run("cifar100", "--root", cifar.parent)[:2] == (0, out)
    assert not offline


def test_cifar_is_downloaded_where_it_is_missing(run, tmp_path, monkeypatch, cifar):
    monkeypatch.setattr(archives, "download_url", lambda url, root, name, md5: shutil.copy(cifar, Path(root, name)))
    code, out, _ = run("cifar100", "--root", tmp_path / "new")
    assert (code, out[0]) == (0, f"Downloading {datasets.CIFAR100.url}")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["cifar-100-python", "cifar-100-python.tar.gz"]


def test_without_a_network_the_url_and_the_way_by_hand_are_named(run, tmp_path, offline):
    by_hand = f"put it into {tmp_path} and run this again"
    refused(run("cifar100", "--root", tmp_path), datasets.CIFAR100.url, "no network", by_hand)
    refused(run("places365", "--root", tmp_path), "filelist_places365-standard.tar", "no network", by_hand)
    assert len(offline) == 2
    assert not list(tmp_path.iterdir())


def test_a_wrong_checksum_leaves_the_archive_packed(run, cifar, monkeypatch):
    monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", "0" * 32)
    refused(run("cifar100", "--root", cifar.parent), cifar.name, "0" * 32, md5(cifar.read_bytes()), "download it again")
    assert list(cifar.parent.iterdir()) == [cifar]


def test_a_damaged_folder_is_not_overwritten(run, cifar):
    (cifar.parent / "cifar-100-python").mkdir()
    (cifar.parent / "cifar-100-python" / "mine").touch()
    refused(run("cifar100", "--root", cifar.parent), "cifar-100-python is in the way", "move or delete it")
    assert (cifar.parent / "cifar-100-python" / "mine").exists()


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """Fashion-MNIST's four archives as at the authors' address, of 24 training and 12 test images."""
    laid_out = write_fashion_mnist(tmp_path / "laid out")
    files, served = read(laid_out / "FashionMNIST/raw"), tmp_path / "served"
    served.mkdir()
    for name, content in files.items():
        (served / f"{name}.gz").write_bytes(gzip.compress(content))
    meta = [(name, md5((served / name).read_bytes())) for name, _ in datasets.FashionMNIST.resources]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", meta)
    for name, content in files.items():
        monkeypatch.setitem(fetched.FILES, name, md5(content))
    return served


def test_fashion_mnist_is_downloaded_and_unpacked_as_torchvision_lays_it_out(run, tmp_path, monkeypatch, fashion):
    def download(url, folder, name, _):
        shutil.copy(fashion / Path(url).name, Path(folder, name))

    monkeypatch.setattr(archives, "download_url", download)
    root = tmp_path / "new"
    code, out, _ = run("fashion_mnist", "--root", root)
    assert code == 0
    assert out[-2:] == [
        f"{root}/FashionMNIST/raw: 24 training and 12 test images",
        f"Go on with: compat-bench data check fashion_mnist --data.root={root}",
    ]
    assert len(datasets.FashionMNIST(root, train=True)) == 24
    monkeypatch.delattr(archives, "download_url")
    for archive in (root / "FashionMNIST/raw").glob("*.gz"):
        archive.unlink()
    assert run("fashion_mnist", "--root", root)[:2] == (0, out[-2:])


def test_fashion_mnist_is_unpacked_anew_where_a_file_is_damaged(run, tmp_path, offline, fashion):
    raw = tmp_path / "FashionMNIST" / "raw"
    shutil.copytree(fashion, raw)
    (raw / "t10k-images-idx3-ubyte").write_bytes(b"half")
    assert run("fashion_mnist", "--root", tmp_path)[0] == 0
    (raw / "t10k-images-idx3-ubyte").write_bytes(b"half")
    (raw / "t10k-images-idx3-ubyte.gz").unlink()
    refused(run("fashion_mnist", "--root", tmp_path), "t10k-images-idx3-ubyte.gz: cannot be downloaded", "no network")
    (raw / "t10k-images-idx3-ubyte.gz").write_bytes(b"half")
    refused(run("fashion_mnist", "--root", tmp_path), "its MD5 is", "download it again")


@pytest.fixture
def omniglot(tmp_path, monkeypatch):
    """Omniglot's two archives, of four and two characters."""
    files = read(write_omniglot(tmp_path / "laid out") / "omniglot-py")
    folder = tmp_path / "omniglot-py"
    folder.mkdir()
    checksums = {}
    for name in datasets.Omniglot.zips_md5:
        archive = pack(folder / f"{name}.zip", {file: files[file] for file in files if file.startswith(name)})
        checksums[name] = md5(archive.read_bytes())
    monkeypatch.setattr(datasets.Omniglot, "zips_md5", checksums)
    return folder


def test_omniglot_is_unpacked_as_torchvision_lays_it_out(run, tmp_path, offline, omniglot):
    (omniglot / ".images_background" / "half").mkdir(parents=True)  # of a killed run
    code, out, _ = run("omniglot", "--root", tmp_path)
    assert code == 0
    assert out[0] == f"{omniglot}: 4 characters in images_background, 2 characters in images_evaluation"
    assert [len(datasets.Omniglot(tmp_path, background)) for background in (True, False)] == [80, 40]
    for archive in omniglot.glob("*.zip"):
        archive.unlink()
    assert run("omniglot", "--root", tmp_path)[:2] == (0, out)
    assert not offline
    assert not list(omniglot.glob(".*"))


def test_omniglot_is_asked_for_where_it_is_missing(run, tmp_path, offline, omniglot):
    url = f"{datasets.Omniglot.download_url_prefix}/images_background.zip"
    refused(run("omniglot", "--root", tmp_path / "new"), f"{url}: cannot be downloaded", "no network")
    (omniglot / "images_evaluation.zip").write_bytes(b"half")
    refused(run("omniglot", "--root", tmp_path), "images_evaluation.zip: its MD5 is", "download it again")


@pytest.mark.parametrize("name", command.DATASETS)
def test_a_root_that_is_no_folder_is_named(run, tmp_path, name):
    (tmp_path / "file").touch()
    refused(run(name, "--root", tmp_path / "file" / "data"), "--root: ", str(tmp_path / "file"))


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The three archives of Places365 with two training images and one validation image."""
    lists = {
        "categories_places365.txt": b"/a/airfield 0\n/z/zoo 1\n",
        "places365_train_standard.txt": b"/a/airfield/1.jpg 0\n/z/zoo/1.jpg 1\n",
        "places365_val.txt": b"Places365_val_1.jpg 1\n",
    }
    archives = [
        pack(tmp_path / "filelist_places365-standard.tar", lists),
        pack(
            tmp_path / "train_256_places365standard.tar",
            {"data_256/a/airfield/1.jpg": b"a", "data_256/z/zoo/1.jpg": b"z"},
        ),
        pack(tmp_path / "val_256.tar", {"val_256/Places365_val_1.jpg": b"v"}),
    ]
    meta = [(archive.name, md5(archive.read_bytes())) for archive in archives]
    categories, train, val = [(name, md5(content)) for name, content in lists.items()]
    monkeypatch.setattr(datasets.Places365, "_DEVKIT_META", {"standard": meta[0]})
    monkeypatch.setattr(datasets.Places365, "_CATEGORIES_META", categories)
    monkeypatch.setattr(datasets.Places365, "_FILE_LIST_META", {"train-standard": train, "val": val})
    monkeypatch.setattr(datasets.Places365, "_IMAGES_META", {("train-standard", True): meta[1], ("val", True): meta[2]})
    return tmp_path


def test_places_is_unpacked_as_torchvision_lays_it_out(run, offline, places):
    (places / ".data_256_standard" / "half").mkdir(parents=True)  # of a killed run
    code, out, _ = run("places365", "--root", places)
    assert code == 0
    assert "2 training and 1 validation images" in out[0]
    loaded = [datasets.Places365(places, split, small=True) for split in ("train-standard", "val")]
    assert all(Path(file).exists() for split in loaded for file, _ in split.imgs)
    for archive in places.glob("*.tar"):
        archive.unlink()
    assert run("places365", "--root", places)[:2] == (0, out)
    assert not offline
    assert not list(places.glob(".*"))


def test_market_is_unpacked(run, tmp_path, monkeypatch):
    result = run("market1501", "--root", tmp_path)
    refused(result, f"no {fetched.MARKET.name} in {tmp_path}", fetched.MARKET.url)
    assert "cannot be downloaded automatically" in result[1][0]
    files = {f"Market-1501-v15.09.15/{folder}/0002_c1s1_000451_03.jpg": b"" for folder in fetched.MARKET_FOLDERS}
    archive = pack(tmp_path / fetched.MARKET.name, files)
    refused(run("market1501", "--root", tmp_path), "its MD5 is", fetched.MARKET.md5)
    monkeypatch.setattr(fetched, "MARKET", fetched.MARKET._replace(md5=md5(archive.read_bytes())))
    code, out, _ = run("market1501", "--root", tmp_path)
    assert (code, out[0].count("1 images in")) == (0, 3)
    assert set(read(tmp_path)) == {archive.name, *files}
    archive.unlink()
    assert run("market1501", "--root", tmp_path)[:2] == (0, out)


def test_an_unknown_option_of_a_dataset_is_refused(run, tmp_path):
    code, _, err = run("cifar100", "--root", tmp_path, "--data.root=x")
    assert code == 2
    assert "unrecognized arguments: --data.root=x" in err
