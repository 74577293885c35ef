"""`python -m benchmarks.data imagenet` on archives that the tests make, without a network."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from torchvision import datasets
from torchvision.datasets import imagenet as ilsvrc

from benchmarks.fetch import datasets as fetched
from tests.helpers.layouts import pack, read
from tests.helpers.running import refused

WNIDS = ["n01", "n02", "n03"]
VAL = [2, 3, 1, 2]  # the numbers (from 1) of the validation images' classes


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def inner_tar(folder: Path, wnid: str) -> bytes:
    return pack(folder / "inner.tar", {f"{wnid}_{i}.JPEG": f"{wnid} {i}".encode() for i in range(2)}).read_bytes()


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """ImageNet's three archives, of three classes."""
    root = tmp_path / "imagenet"
    root.mkdir()
    synsets = [(i, wnid, f"name {i}, other {i}", "gloss", 0) for i, wnid in enumerate(WNIDS, 1)]
    synsets.append((4, "n00", "all", "gloss", 3))  # an inner node of the hierarchy
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children"]
    mat = io.BytesIO()
    scipy.io.savemat(mat, {"synsets": np.array(synsets, dtype=[(field, object) for field in fields])})
    devkit = {
        "data/meta.mat": mat.getvalue(),
        "data/ILSVRC2012_validation_ground_truth.txt": "".join(f"{number}\n" for number in VAL).encode(),
    }
    contents = {
        "devkit": {f"ILSVRC2012_devkit_t12/{name}": content for name, content in devkit.items()},
        "train": {f"{wnid}.tar": inner_tar(tmp_path, wnid) for wnid in WNIDS},
        "val": {f"ILSVRC2012_val_{i}.JPEG": b"%d" % i for i in (3, 1, 2, 4)},
    }
    meta = {}
    for split, files in contents.items():
        archive = pack(root / ilsvrc.ARCHIVE_META[split][0], files)
        meta[split] = (archive.name, md5(archive.read_bytes()))
    monkeypatch.setattr(ilsvrc, "ARCHIVE_META", meta)
    return root


IMAGENET = {f"train/{wnid}/{wnid}_{i}.JPEG": f"{wnid} {i}".encode() for wnid in WNIDS for i in range(2)} | {
    f"val/{WNIDS[number - 1]}/ILSVRC2012_val_{i}.JPEG": b"%d" % i for i, number in enumerate(VAL, 1)
}


def images(root: Path) -> dict[str, bytes]:
    return {name: content for name, content in read(root).items() if name.endswith(".JPEG")}


def test_imagenet_is_unpacked_as_torchvision_lays_it_out(run, imagenet):
    code, out, _ = run("imagenet", "--root", imagenet)
    assert code == 0
    assert "3 classes, 4 validation images" in out[0]
    assert images(imagenet) == IMAGENET
    assert sorted(path.name for path in imagenet.iterdir() if not path.name.startswith("ILSVRC2012")) == [
        "meta.bin",
        "train",
        "val",
    ]
    loaded = datasets.ImageNet(imagenet, "val")
    assert loaded.classes[1] == ("name 2", "other 2")
    for archive in imagenet.glob("ILSVRC2012*"):
        archive.unlink()
    assert run("imagenet", "--root", imagenet)[:2] == (0, out)


def test_imagenet_goes_on_after_an_interruption(run, imagenet, monkeypatch):
    unpack, calls = fetched.unpack, []

    def interrupted(archive, target):
        calls.append(archive.name)
        if archive.name == "n02.tar":
            raise KeyboardInterrupt
        unpack(archive, target)

    monkeypatch.setattr(fetched, "unpack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("imagenet", "--root", imagenet)
    assert calls == ["ILSVRC2012_img_train.tar", "n01.tar", "n02.tar"]
    assert images(imagenet) == {}
    (imagenet / ".train" / "n01").mkdir(parents=True)  # what a killed process leaves besides
    monkeypatch.setattr(fetched, "unpack", unpack)
    assert run("imagenet", "--root", imagenet)[0] == 0
    assert images(imagenet) == IMAGENET


def test_imagenet_refuses_a_class_whose_archive_leads_outside(run, imagenet, monkeypatch):
    evil = pack(imagenet / "evil.tar", {"../../evil.JPEG": b""}).read_bytes()
    archive = pack(imagenet / "ILSVRC2012_img_train.tar", {"n01.tar": evil})
    monkeypatch.setitem(ilsvrc.ARCHIVE_META, "train", (archive.name, md5(archive.read_bytes())))
    refused(run("imagenet", "--root", imagenet), "n01.tar: member '../../evil.JPEG' leads outside")
    assert images(imagenet) == {}


def test_imagenet_says_what_a_half_unpacked_split_lacks(run, imagenet):
    (imagenet / "train" / "n01").mkdir(parents=True)
    result = run("imagenet", "--root", imagenet)
    refused(result, f"{imagenet}/train: 2 entries missing or too many, such as n02", "for each of 3 WordNet ids")


def test_imagenet_says_which_archives_to_get_where(run, imagenet, tmp_path):
    (imagenet / "ILSVRC2012_img_val.tar").unlink()
    result = run("imagenet", "--root", imagenet)
    refused(result, f"no ILSVRC2012_img_val.tar in {imagenet}", "image-net.org")
    assert "Register at https://image-net.org" in result[1][0]
    refused(
        run("imagenet", "--root", tmp_path / "new"), "devkit_t12.tar.gz, ILSVRC2012_img_train.tar, ILSVRC2012_img_v"
    )


def test_a_damaged_meta_file_is_named(run, imagenet):
    (imagenet / "meta.bin").write_bytes(b"half")
    refused(run("imagenet", "--root", imagenet), "meta.bin: cannot be read", "delete it")
