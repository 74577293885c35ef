"""Train one generation's model, or read a checkpoint: images -> weights of an embedder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import Loaded, Weights
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.training import fit
from benchmarks.config.spec import Spec
from compat.methods.single import SingleModel
from compat.models import load_embedder, read_checkpoint


def train(artifact: Weights, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Train one generation's model; the tensors are the embedder's weights."""
    pl.seed_everything(artifact.seed, verbose=False)
    module: SingleModel = artifact.model.build(SingleModel)
    items = dataset(artifact.images.whole).training(artifact.sees, artifact.seed, module.views)
    fit(module, artifact.options, artifact.seed, folder, items)
    return module.embedder.state_dict()


def read(artifact: Loaded, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Read a checkpoint."""
    return load_trained(artifact.model, read_checkpoint(artifact.path), artifact.path).embedder.state_dict()


def load_trained(model: Spec, weights: dict[str, Tensor], source: str) -> SingleModel:
    """Build a config's model with these weights, in evaluation mode."""
    module: Any = model.build(SingleModel)
    load_embedder(module.embedder, weights, source)
    return module.eval()
