"""Embeddings of the training images, the gallery and the queries by a model."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import Extracted, ImageSet
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.training import build_trainer
from benchmarks.artifacts.weights import load_trained
from benchmarks.config.spec import Spec
from compat.methods.single import SingleModel

PREDICTING = ("accelerator", "devices", "num_nodes", "strategy", "plugins", "enable_progress_bar")


def extract(artifact: Extracted, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Embed the images with a generation's model."""
    model = load_trained(artifact.model, store.get(artifact.of), artifact.name)
    return embed(model, artifact.images, artifact.options, folder)


def embed(model: SingleModel, images: ImageSet, options: Spec, folder: Path) -> dict[str, Tensor]:
    """Embed every split; the queries are left out where they are the gallery.

    Each of several processes embeds a run of the rows and writes it; the first one joins them.
    """
    data, model = dataset(images.whole), model.eval()
    process = {k: v for k, v in options.init_args.items() if k in PREDICTING}
    options = options.replace(init_args=process)
    trainer = build_trainer(options, logger=False, enable_checkpointing=False, enable_model_summary=False)
    predicted = trainer.predict(model, datamodule=data) or []
    empty = torch.empty(0, model.embedder.project.out_features)
    batches = dict(zip(data.splits(), predicted, strict=True))
    rows = {name: torch.cat([empty, *of_split]).float() for name, of_split in batches.items()}
    if trainer.world_size == 1:
        return rows
    save_file(rows, folder / f"rows-{trainer.global_rank}.safetensors")
    trainer.strategy.barrier()
    if not trainer.is_global_zero:
        return {}
    files = [folder / f"rows-{rank}.safetensors" for rank in range(trainer.world_size)]
    shards = [load_file(file) for file in files]
    for file in files:
        file.unlink()
    return {name: torch.cat([shard[name] for shard in shards]) for name in rows}
