"""Fetch each public dataset as far as its terms allow, verify and unpack it. Imports torch."""

from __future__ import annotations

import os
from pathlib import Path

from torchvision import datasets
from torchvision.datasets import imagenet as ilsvrc
from torchvision.datasets.utils import check_integrity
from tqdm.auto import tqdm

from benchmarks.fetch.archives import Download, by_hand, download, gunzip, read_or_fetch, verify_download
from compat.data.archives import scratch, unpack
from compat.data.fashion import FILES
from compat.data.listing import hidden
from compat.errors import InputError

# The MD5 is open-reid's (reid/datasets/market1501.py); its folders are those of the authors' protocol.
MARKET = Download(
    "Market-1501-v15.09.15.zip",
    "65005ab7d12ec1c44de4eeafe813e68a",
    "https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
)
MARKET_FOLDERS = ("bounding_box_train", "bounding_box_test", "query")
MARKET_HELP = f"""\
Market-1501 cannot be downloaded automatically. Get {MARKET.name} by the links (Google Drive, Kaggle) on
{MARKET.url} and put it into {{root}}.
If a mirror packed it anew, unpack it yourself, to {{root}}/{Path(MARKET.name).stem}/{MARKET_FOLDERS[0]} and so on."""

IMAGENET_URL = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php"
IMAGENET_HELP = f"""\
ImageNet cannot be downloaded automatically. Register at https://image-net.org, agree to the terms of access, get
from {IMAGENET_URL} the development kit (task 1 & 2), the
training images (task 1 & 2, 138 GB) and the validation images (6 GB), and put the archives into {{root}}."""


def cifar100(root: Path) -> str:
    """CIFAR-100: 169 MB, downloaded."""
    source = datasets.CIFAR100

    def fetch() -> None:
        unpack(download(root, Download(source.filename, source.tgz_md5, source.url)), root)

    train, test = read_or_fetch(fetch, lambda: [source(root, train=train) for train in (True, False)])
    return f"{root / source.base_folder}: {len(train):,} training and {len(test):,} test images"


def fashion_mnist(root: Path) -> str:
    """Fashion-MNIST: 30 MB, downloaded."""
    source = datasets.FashionMNIST
    folder = root / source.__name__ / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, md5 in source.resources:
        unpacked = folder / name.removesuffix(".gz")
        if not check_integrity(unpacked, FILES[unpacked.name]):
            gunzip(download(folder, Download(name, md5, source.mirrors[0] + name)), unpacked)
    train, test = (source(root, train=train) for train in (True, False))
    return f"{folder}: {len(train):,} training and {len(test):,} test images"


def omniglot(root: Path) -> str:
    """Omniglot: 16 MB, downloaded."""
    source = datasets.Omniglot
    folder = root / source.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, md5 in source.zips_md5.items():
        if not (folder / name).is_dir():
            archive = download(folder, Download(f"{name}.zip", md5, f"{source.download_url_prefix}/{name}.zip"))
            with scratch(folder / f".{name}") as work:
                unpack(archive, work)
                os.rename(work / name, folder / name)
    counts = (f"{len(list((folder / name).glob('*/*'))):,} characters in {name}" for name in source.zips_md5)
    return f"{folder}: {', '.join(counts)}"


def places365(root: Path) -> str:
    """Places365-Standard at 256x256: 25 GB, downloaded."""
    source = datasets.Places365

    def archive(name: str, md5: str) -> Path:
        return download(root, Download(name, md5, source._BASE_URL + name))

    def read() -> list[datasets.Places365]:
        return [source(root, split, small=True) for split in ("train-standard", "val")]

    train, val = read_or_fetch(lambda: unpack(archive(*source._DEVKIT_META["standard"]), root), read)
    for split, unpacked in ((train, "data_256"), (val, "val_256")):
        folder = Path(split.images_dir)
        if not folder.is_dir():
            with scratch(root / f".{folder.name}") as work:
                unpack(archive(*source._IMAGES_META[split.split, True]), work)
                os.rename(work / unpacked, folder)
    return f"{train.images_dir} and {val.images_dir}: {len(train):,} training and {len(val):,} validation images"


def imagenet(root: Path) -> str:
    """ImageNet-1k (ILSVRC 2012): 145 GB of archives that you get by registration."""
    archives = {split: Download(name, md5, IMAGENET_URL) for split, (name, md5) in ilsvrc.ARCHIVE_META.items()}
    needed = [archives[split] for split in ("train", "val") if not (root / split).is_dir()]
    meta = root / ilsvrc.META_FILE
    by_hand(root, needed if meta.exists() else [archives["devkit"], *needed], IMAGENET_HELP)
    if not meta.exists():
        with scratch(root / ".devkit") as work:
            ilsvrc.parse_devkit_archive(work, verify_download(root, archives["devkit"]).resolve())
            os.rename(work / meta.name, meta)
    try:
        _, val_wnids = ilsvrc.load_meta_file(root)
    except Exception as error:  # torch.load raises different errors, by the damage
        raise InputError(f"{meta}: cannot be read, expected the development kit's; delete it") from error

    if not (train := root / "train").is_dir():
        with scratch(root / ".train") as work:
            unpack(verify_download(root, archives["train"]), work)
            for of_class in tqdm(sorted(work.glob("*.tar")), "Unpacking the classes", disable=None):
                unpack(of_class, of_class.with_suffix(""))
                of_class.unlink()
            os.rename(work, train)
    if not (val := root / "val").is_dir():
        with scratch(root / ".val") as work:
            unpack(verify_download(root, archives["val"]), work)
            for image, wnid in zip(sorted(work.iterdir()), val_wnids, strict=True):
                (work / wnid).mkdir(exist_ok=True)
                os.rename(image, work / wnid / image.name)
            os.rename(work, val)
    for folder in (train, val):
        if different := {entry.name for entry in folder.iterdir() if not hidden(entry.name)} ^ set(val_wnids):
            raise InputError(
                f"{folder}: {len(different)} entries missing or too many, such as {min(different)}, expected a folder "
                f"for each of {len(set(val_wnids))} WordNet ids; move it away and run this again"
            )
    return f"{train} and {val}: {len(set(val_wnids)):,} classes, {len(val_wnids):,} validation images"


def market1501(root: Path) -> str:
    """Market-1501: about 150 MB, to be got from the authors' page."""
    folders = [root / Path(MARKET.name).stem / name for name in MARKET_FOLDERS]
    if not all(folder.is_dir() for folder in folders):
        by_hand(root, [MARKET], MARKET_HELP)
        unpack(verify_download(root, MARKET), root)
    return f"{folders[0].parent}: " + ", ".join(f"{len(list(f.glob('*.jpg'))):,} images in {f.name}" for f in folders)
