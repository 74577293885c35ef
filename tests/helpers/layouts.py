"""Small copies of the datasets in their exact layouts on disk, made of coloured noise."""

import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

WNIDS = ["n01440764", "n01443537", "n01484850", "n01491361"]
CATEGORIES = ["/a/airfield", "/a/alley", "/b/bakery/shop", "/z/zen_garden"]


def noise(random: np.random.Generator, colour: int, size: tuple[int, int] = (32, 32)) -> np.ndarray:
    """(H, W, 3) uint8, the colour hidden in noise."""
    base = np.random.default_rng(colour + 1).integers(0, 120, 3)
    return (base + random.integers(0, 136, (*size, 3))).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_cifar100(root: Path, classes: int = 4, train: int = 6, test: int = 3) -> Path:
    """`root/cifar-100-python/{train,test,meta}`: pickled dictionaries with rows of 3072 bytes, channel by channel."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, count in (("train", train), ("test", test)):
        labels = [label for label in range(classes) for _ in range(count)]
        rows = np.stack([noise(random, label).transpose(2, 0, 1).ravel() for label in labels])
        names = [f"{name}_{i}.png" for i in range(len(labels))]
        content = {
            "filenames": names,
            "batch_label": name,
            "fine_labels": labels,
            "coarse_labels": labels,
            "data": rows,
        }
        (folder / name).write_bytes(pickle.dumps(content))
    names = [f"class_{label}" for label in range(classes)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names, "coarse_label_names": names}))
    return root


def write_imagenet(root: Path, train: int = 6, val: int = 3) -> Path:
    """`root/train/<wnid>/<wnid>_<n>.JPEG`, `root/val/<wnid>/ILSVRC2012_val_<n>.JPEG` and torchvision's `meta.bin`."""
    random = np.random.default_rng(0)
    number = 0
    for label, wnid in enumerate(WNIDS):
        for index in range(train):
            save(root / "train" / wnid / f"{wnid}_{index}.JPEG", noise(random, label, (40, 48)))
        for _ in range(val):
            number += 1
            save(root / "val" / wnid / f"ILSVRC2012_val_{number:08d}.JPEG", noise(random, label, (48, 40)))
    wnids = [wnid for wnid in WNIDS for _ in range(val)]
    torch.save(({wnid: (f"name of {wnid}",) for wnid in WNIDS}, wnids), root / "meta.bin")
    return root


def write_places365(root: Path, train: int = 6, val: int = 3) -> Path:
    """The three file lists, `root/data_256_standard/<letter>/<category>/*.jpg` and `root/val_256/*.jpg`."""
    random = np.random.default_rng(0)
    lists: dict[str, list[str]] = {"train_standard": [], "val": []}
    for label, category in enumerate(CATEGORIES):
        for index in range(train):
            lists["train_standard"].append(f"{category}/{index + 1:08d}.jpg {label}")
            save(root / "data_256_standard" / category[1:] / f"{index + 1:08d}.jpg", noise(random, label, (40, 40)))
        for _ in range(val):
            name = f"Places365_val_{len(lists['val']) + 1:08d}.jpg"
            lists["val"].append(f"{name} {label}")
            save(root / "val_256" / name, noise(random, label, (40, 40)))
    for name, lines in lists.items():
        (root / f"places365_{name}.txt").write_text("\n".join(lines) + "\n")
    categories = [f"{category} {label}" for label, category in enumerate(CATEGORIES)]
    (root / "categories_places365.txt").write_text("\n".join(categories) + "\n")
    return root


TWICE = {("-1", 1), ("0000", 3), ("0003", 0)}


def write_market1501(root: Path) -> Path:
    """`root/Market-1501-v15.09.15` with four identities to train on, three to find, junk (-1), distractors (0).

    As in the archive, some names end in `.jpg` twice.
    """
    folder = root / "Market-1501-v15.09.15"
    random = np.random.default_rng(0)

    def shots(part: str, identity: str, cameras: list[int]) -> None:
        for number, camera in enumerate(cameras):
            ending = ".jpg.jpg" if (identity, number) in TWICE and part != "bounding_box_train" else ".jpg"
            name = f"{identity}_c{camera}s{1 + number % 3}_{1051 + 25 * number:06d}_{number % 5:02d}{ending}"
            save(folder / part / name, noise(random, int(identity), (64, 32)))

    for identity in ("0002", "0007", "0010", "0011"):
        shots("bounding_box_train", identity, [1, 1, 2, 3, 6, 6])
    for identity in ("0001", "0003", "0004"):
        shots("bounding_box_test", identity, [1, 1, 2, 4])
        shots("query", identity, [1, 2])
    shots("bounding_box_test", "-1", [1, 2, 3])
    shots("bounding_box_test", "0000", [1, 2, 3, 4, 5])
    for part in ("bounding_box_train", "bounding_box_test", "query"):
        (folder / part / "Thumbs.db").write_bytes(b"as in the archive")
    return root


def idx(array: np.ndarray) -> bytes:
    """An IDX file of bytes: two zeros, 8 for uint8, the number of dimensions, these as big-endian int32, the values."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


def write_fashion_mnist(root: Path, classes: int = 4, train: int = 6, test: int = 3, packed: bool = False) -> Path:
    """`root/FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte`, or Debian's `root/*.gz`."""
    folder = root if packed else root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name, count in (("train", train), ("t10k", test)):
        labels = np.repeat(range(classes), count)
        images = np.stack([noise(random, int(label), (28, 28))[..., 0] for label in labels])
        for file, content in ((f"{name}-images-idx3-ubyte", idx(images)), (f"{name}-labels-idx1-ubyte", idx(labels))):
            if packed:
                (folder / f"{file}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / file).write_bytes(content)
    return root


ALPHABETS = {"images_background": [("Tifinagh", 1), ("Greek", 2), ("Greek", 3), ("Latin", 10)]}
ALPHABETS["images_evaluation"] = [("Angelic", 965), ("Angelic", 966)]


def write_omniglot(root: Path, train: int = 14, test: int = 6) -> Path:
    """`root/omniglot-py/images_{background,evaluation}/<alphabet>/character<nn>/<number>_<drawing>.png`, of 1 bit."""
    random = np.random.default_rng(0)
    for part, characters in ALPHABETS.items():
        for alphabet, number in characters:
            folder = root / "omniglot-py" / part / alphabet / f"character{number:02d}"
            strokes = np.random.default_rng(number).random((7, 7)) < 0.3
            for drawing in [*range(1, train + 1), *range(15, test + 15)]:
                paper = np.kron(strokes ^ (random.random((7, 7)) < 0.05), np.ones((15, 15), bool))
                save(folder / f"{number:04d}_{drawing:02d}.png", ~paper)
    return root


def write_images(root: Path, split: str, names: list[str], count: int, size: int = 16) -> None:
    """An image folder of coloured noise; each class has its own mean colour, hidden in more noise than colour."""
    random = np.random.default_rng(len(names) + count)
    for number, name in enumerate(names):
        folder = root / split / name
        folder.mkdir(parents=True)
        colour = random.integers(0, 80, 3)
        for index in range(count):
            pixels = colour + random.integers(0, 100, 3) + random.integers(0, 75, (size, size, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}_{index}.png")


def pack(path: Path, files: dict[str, bytes], *others: Any) -> Path:
    """Write an archive of files, and of other members (TarInfo or ZipInfo)."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
            for other in others:
                archive.writestr(other, "/etc")
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for other in others:
            archive.addfile(other)
    return path


def read(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, hidden or not."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
