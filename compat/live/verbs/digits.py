"""Data of the demonstration: scikit-learn's digits as image files, and two small networks trained on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from compat.batch import Pair
from compat.live.models import Images, Models
from compat.methods import Affine
from compat.models import Embedder

WIDTHS = {"old": 8, "new": 24}  # widths of the networks
DIMS = {"old": 12, "new": 20}  # dimensions of their embeddings
KNOWN = {"old": 5, "new": 10}  # classes they are trained on
EPOCHS, BATCH, RATE = 8, 32, 3e-3
QUERIES, RESERVE = 100, 10  # query images, and images which users write


class DigitImages(NamedTuple):
    """Image files and their use.

    Attributes:
        files: (N,) all images.
        labels: (N,).
        train: numbers of training images.
        queries: numbers of queries.
        gallery: numbers of items.
        reserve: numbers of images which users write.
    """

    files: list[str]
    labels: np.ndarray
    train: np.ndarray
    queries: np.ndarray
    gallery: np.ndarray
    reserve: np.ndarray


def write(folder: Path) -> DigitImages:
    """Write all digits as image files, and split them."""
    bunch = load_digits()
    pixels = (bunch.images * (255 / 16)).round().astype(np.uint8)
    files = [str(folder / f"{number:04d}.png") for number in range(len(pixels))]
    for file, digit in zip(files, pixels, strict=True):
        Image.fromarray(digit).save(file)
    train, rest = train_test_split(np.arange(len(pixels)), test_size=0.5, stratify=bunch.target, random_state=0)
    parts = np.split(rest, [QUERIES, len(rest) - RESERVE])
    return DigitImages(files, bunch.target, train, *parts)


def read(file: str) -> Tensor:
    """Read an image (1, 8, 8) in float64, so its embedding does not depend on its batch."""
    with Image.open(file) as image:
        return torch.from_numpy(np.asarray(image, np.float64) / 255)[None]


def network(name: str) -> Embedder:
    """Make an untrained network."""
    width = WIDTHS[name]
    layers = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    )  # fmt: skip
    embedder = Embedder(layers, DIMS[name])
    embedder(torch.zeros(1, 1, 8, 8))  # sets the projection's width
    return embedder


def train(name: str, images: Tensor, labels: Tensor) -> Embedder:
    """Train a network on those images (N, 1, 8, 8) which belong to its first classes."""
    torch.manual_seed(0)
    images, labels = images[labels < KNOWN[name]].float(), labels[labels < KNOWN[name]]
    embedder = network(name)
    embedder.classify(KNOWN[name])
    assert embedder.classifier is not None
    optimizer = torch.optim.Adam(embedder.parameters(), RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(embedder.classifier(embedder(images[batch])), labels[batch]).backward()
            optimizer.step()
    embedder.classifier = None
    return embedder


def prepare(folder: Path, digits: DigitImages) -> None:
    """Train both networks and the map between them, and write their weights to the folder."""
    images = torch.stack([read(digits.files[n]) for n in digits.train])
    labels = torch.from_numpy(digits.labels[digits.train])
    for name in ("old", "new"):
        save(folder / f"{name}.safetensors", train(name, images, labels).state_dict())
    old, new = (load(folder, name) for name in ("old", "new"))
    upgrade = Affine(old, new)
    with torch.inference_mode():
        upgrade.solve(Pair(old(images).float(), new(images).float(), labels))
    save(folder / "upgrade.safetensors", upgrade.heads())


def save(file: Path, state: Mapping[str, Tensor]) -> None:
    """Write weights."""
    save_file({name: value.contiguous() for name, value in state.items()}, file)


def load(folder: Path, name: str) -> Embedder:
    """Load a network with its weights, in float64."""
    embedder = network(name)
    embedder.load_state_dict(load_file(folder / f"{name}.safetensors"))
    return embedder.double().eval()


def load_models(folder: Path) -> Models:
    """Load the models of the migration from the folder, the same in every process."""
    old, new = (load(folder, name) for name in ("old", "new"))
    upgrade = Affine(old, new)
    upgrade.restore(load_file(folder / "upgrade.safetensors"))
    return Models(Images(new, read, "gray"), Images(old, read, "gray"), upgrade.eval())


def embed(models: Models, files: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Embed images with both models, (N, D_old) and (N, D_new) float32."""
    assert models.old is not None
    old, new = (torch.from_numpy(np.asarray(model(files), np.float32)) for model in (models.old, models.new))
    return old, new
