"""Train one generation's projection on the features of its frozen backbone, and embed by both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.artifacts.extracted import embed
from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import Extracted, FrozenFeatures, Projected
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.training import fit
from benchmarks.artifacts.weights import load_trained
from benchmarks.config.spec import Spec
from compat.data.images import Sample
from compat.data.training import TrainingImages
from compat.methods.single import SingleModel

CHUNK = 4096  # rows


class LabelledFeatures(Dataset[Sample]):
    """Features in place of images: F channels of one pixel, so that an embedder without a backbone takes them.

    Args:
        features: (N, F).
        labels: (N,) class indices.
    """

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.images, self.labels = features[:, :, None, None], labels
        self.groups = torch.arange(len(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.images[index], self.labels[index], self.groups[index])


def build_frozen(model: Spec) -> SingleModel:
    """Build a config's model; a backbone without weights of its own is the same for every seed of the training."""
    pl.seed_everything(0, verbose=False)
    module: SingleModel = model.build(SingleModel)
    return module.eval()


def features(artifact: FrozenFeatures, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Return the backbone's features of every split, (N, F)."""
    model = build_frozen(artifact.model)
    model.materialize(dataset(artifact.images.whole).gallery_images()[0].image)
    plain: Any = nn.Identity()
    plain.out_features = model.embedder.project.in_features
    model.embedder.project = plain
    return embed(model, artifact.images, artifact.options, folder)


def train(artifact: Projected, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Train the projection and the classifier; the tensors are the embedder's weights, with the backbone's."""
    module, data = build_frozen(artifact.model), dataset(artifact.images.whole)
    backbone, module.embedder.backbone = module.embedder.backbone, nn.Flatten()
    pl.seed_everything(artifact.seed, verbose=False)
    rows, classes = data.rows(artifact.sees), data.classes(artifact.sees)
    labels = data.train_images(augment=False).labels[rows] - classes.start
    shown: Any = LabelledFeatures(store.get(artifact.features)["train"][rows], labels)
    loading = (data.batch_size, data.images_per_class, 0)
    items = TrainingImages(shown, shown[0].image, len(classes), artifact.seed, loading)
    fit(module, artifact.options, artifact.seed, folder, items)
    module.embedder.backbone = backbone
    return module.embedder.state_dict()


def extract(artifact: Extracted, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Embed the images by the projection of their features."""
    assert isinstance(artifact.of, Projected)
    embedder = load_trained(artifact.model, store.get(artifact.of), artifact.name).embedder
    embedder.backbone = nn.Flatten()
    with torch.inference_mode():
        return {
            split: torch.cat([embedder(some[:, :, None, None]) for some in rows.split(CHUNK)])
            for split, rows in store.get(artifact.of.features).items()
        }
