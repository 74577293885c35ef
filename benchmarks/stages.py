"""The stages of a benchmark, each a function of its part of the config and of the stages before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.cache import Artifact, Cache, checksum
from benchmarks.config import build
from benchmarks.training import fit
from compat.data import Part, RetrievalData
from compat.methods import SingleModel
from compat.models import load_embedder, read_checkpoint  # noqa

OLD_PART = ("old_classes", "old_images")
LOADING = ("batch_size", "num_workers")


def data_key(spec: dict[str, Any], without: tuple[str, ...]) -> dict[str, Any]:
    """What a stage depends on of the data's config; where the data lies is not a part of it."""
    init_args = {k: v for k, v in spec.get("init_args", {}).items() if k not in ("root", *without)}
    return {**spec, "init_args": init_args}


def train(
    cache: Cache, part: Part, spec: dict[str, Any], data_spec: dict[str, Any], data: RetrievalData
) -> Artifact:
    """Train the old or the new model, or read its checkpoint; the tensors are the embedder's weights."""
    model_spec = spec["model"]
    if path := spec.get("checkpoint"):
        inputs = {"model": model_spec, "checkpoint": checksum(path) if Path(path).is_file() else path}
    else:
        key = data_key(data_spec, without=() if part == "old" else OLD_PART)
        inputs = {"part": part, "model": model_spec, "trainer": spec["trainer"], "seed": spec["seed"], "data": key}
        inputs["images"] = data.fingerprint()[0]
    seed = 2 * spec["seed"] + (part == "new")  # the same seed and backbone must not give both the same weights

    def make(folder: Path) -> dict[str, Tensor]:
        if path:
            model = embedder(model_spec, read_checkpoint(path), path)
            return model.state_dict()
        data.fit_on(part, seed)
        pl.seed_everything(seed, verbose=False)
        module: SingleModel = build(SingleModel, model_spec)
        fit(module, spec["trainer"], seed, folder, datamodule=data)
        return module.embedder.state_dict()

    return cache.get(f"train-{part}", inputs, make)
