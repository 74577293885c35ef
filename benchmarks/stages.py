"""The stages of a benchmark, each a function of its part of the config and of the stages before it.

train -> extract -> train_head -> replay: images become weights, weights become embeddings, a method fills the
four matrices with them, and the replay makes the curve. Each stage is found again by what it depends on.
"""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.cache import Artifact, Cache, checksum
from benchmarks.config import Method, build
from benchmarks.training import fit
from compat.backfill import Embeddings, backfill_curve, backfill_order
from compat.data import Part, RetrievalData
from compat.methods import SingleModel, Upgrade
from compat.models import Embedder, load_embedder, read_checkpoint
from compat.pairs import CachedEmbeddings, PairData

Spec = dict[str, Any]
OLD_PART = ("old_classes", "old_images")
LOADING = ("batch_size", "num_workers")
DISPLAY = ("enable_progress_bar", "enable_model_summary", "log_every_n_steps", "logger", "default_root_dir", "profiler")


def data_key(spec: Spec, without: tuple[str, ...] = ()) -> Spec:
    """What a stage depends on of the data's config; where the data lies is not a part of it."""
    init_args = {k: v for k, v in spec.get("init_args", {}).items() if k not in ("root", *without)}
    return {**spec, "init_args": init_args}


def trainer_key(spec: Spec) -> Spec:
    """What a stage depends on of a Trainer's config: not what it shows or logs."""
    return {**spec, "init_args": {k: v for k, v in spec["init_args"].items() if k not in DISPLAY}}


def own_code(spec: Any) -> Spec | None:
    """Digests of the files of the classes that a config names, where these are the user's own.

    An installed package is known by its version, which a result records, and so is this project.
    """
    found: Spec = {}
    if isinstance(spec, dict) and isinstance(path := spec.get("class_path"), str):
        module = sys.modules[pkgutil.resolve_name(path).__module__]
        file = Path(module.__file__ or "")
        if path.split(".")[0] != "compat" and not {"site-packages", "dist-packages"} & set(file.parts):
            found[path] = checksum(file)
    for value in spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else ():
        found |= own_code(value) or {}
    return found or None


def training_key(part: Part, spec: Spec, data_spec: Spec, data: RetrievalData) -> Spec:
    """What the old or the new model's weights depend on."""
    if path := spec.get("checkpoint"):
        weights = checksum(path) if Path(path).is_file() else path
        return {"model": spec["model"], "checkpoint": weights, "code": own_code(spec)}
    return {
        "part": part,
        "model": spec["model"],
        "trainer": trainer_key(spec["trainer"]),
        "seed": spec["seed"],
        "data": data_key(data_spec, without=() if part == "old" else OLD_PART),
        "images": data.fingerprint()[0],
        "code": own_code([spec, data_spec]),
    }


def train(cache: Cache, part: Part, spec: Spec, inputs: Spec, data: RetrievalData) -> Artifact:
    """Train the old or the new model, or read its checkpoint; the tensors are the embedder's weights.

    `inputs` is its `training_key`.
    """

    def make(folder: Path) -> dict[str, Tensor]:
        if path := spec.get("checkpoint"):
            return trained(spec["model"], read_checkpoint(path), path).embedder.state_dict()
        seed = 2 * spec["seed"] + (part == "new")  # the same seed and backbone must not give both the same weights
        data.fit_on(part, seed)
        pl.seed_everything(seed, verbose=False)
        module: SingleModel = build(SingleModel, spec["model"])
        fit(module, spec["trainer"], seed, folder, data)
        return module.embedder.state_dict()

    return cache.get(f"train-{part}", inputs, make)


def trained(model_spec: Spec, weights: dict[str, Tensor], source: str) -> SingleModel:
    """The model of a config with given weights, in evaluation mode."""
    module: SingleModel = build(SingleModel, model_spec)
    load_embedder(module.embedder, weights, source)
    return module.eval()


def extract(
    cache: Cache,
    part: Part,
    spec: Spec,
    weights: Artifact,
    model: SingleModel,
    data_spec: Spec,
    data: RetrievalData,
) -> Artifact:
    """Embed the training images, the gallery and the queries (left out where they are the gallery itself)."""
    inputs = {
        "weights": weights.key,
        "data": data_key(data_spec, without=(*OLD_PART, *LOADING)),
        "images": data.fingerprint(),
        "code": own_code([spec, data_spec]),
    }

    def make(folder: Path) -> dict[str, Tensor]:
        images = {"train": data.train_images(augment=False), "gallery": data.gallery_images()}
        if data.query_images() is not data.gallery_images():
            images["query"] = data.query_images()
        accelerator = spec["trainer"]["init_args"]["accelerator"]
        trainer = pl.Trainer(
            accelerator=accelerator, devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False
        )
        loaders = [DataLoader(i, batch_size=data.batch_size, num_workers=data.num_workers) for i in images.values()]
        batches = trainer.predict(model, loaders) or []
        return {name: torch.cat(each).float() for name, each in zip(images, batches, strict=True)}

    return cache.get(f"extract-{part}", inputs, make)


def train_head(
    cache: Cache,
    name: str,
    spec: Spec,
    heads: Spec,
    embedders: tuple[Embedder, Embedder],
    embedded: tuple[Artifact, Artifact],
    data_spec: Spec,
    data: RetrievalData,
    seed: int,
) -> tuple[Upgrade, Artifact]:
    """Train what a method learns, if it learns anything; returns the method ready to fill the four matrices."""
    pl.seed_everything(seed, verbose=False)
    method: Upgrade = build(Method, spec)(*embedders)
    inputs = {"embedded": [a.key for a in embedded], "seed": seed, **method_key(method, spec, heads)}
    if heads["images"] and method.heads():
        inputs["data"] = data_key(data_spec, without=("batch_size",))

    def make(folder: Path) -> dict[str, Tensor]:
        if not method.heads():
            return {}
        labels = data.train_images(augment=False).labels
        if heads["images"]:
            items = PairData(data.train_images(augment=True), heads["batch_size"], seed, data.num_workers)
        else:
            cached = CachedEmbeddings(embedded[0].tensors["train"], embedded[1].tensors["train"], labels)
            items = PairData(cached, heads["batch_size"], seed)
        fit(method, heads["trainer"], seed, folder, items)
        return method.heads()

    artifact = cache.get(f"head-{name}-s{seed}", inputs, make)
    method.load_state_dict(artifact.tensors, strict=False)
    return method.eval(), artifact


def method_key(method: Upgrade, spec: Spec, heads: Spec) -> Spec:
    """What a method's head depends on of the config; how heads are trained only if it has one."""
    training = {**heads, "trainer": trainer_key(heads["trainer"])} if method.heads() else None
    return {"method": spec, "heads": training, "code": own_code(spec)}


def fill(method: Upgrade, embedded: tuple[Artifact, Artifact], data: RetrievalData) -> Embeddings:
    """The four matrices of a method."""

    def both(transform: Any, split: str) -> list[Tensor]:
        old, new = (artifact.tensors.get(split, artifact.tensors["gallery"]) for artifact in embedded)
        parts = [transform(o, n) for o, n in zip(old.split(4096), new.split(4096), strict=True)]
        return [torch.cat(part) for part in zip(*parts, strict=True)]

    queries, gallery = data.query_images(), data.gallery_images()
    with torch.inference_mode():
        query_old, query_new = both(method.query, "query")
        gallery_old, gallery_new = both(method.gallery, "gallery")
    matrices = (query_old, query_new, gallery_old, gallery_new)
    return Embeddings(*matrices, queries.labels, gallery.labels, queries.groups, gallery.groups)


def replay(
    cache: Cache,
    name: str,
    method: Upgrade,
    head: Artifact,
    embedded: tuple[Artifact, Artifact],
    correct_before: Tensor | None,
    spec: Spec,
    seed: int,
    data: RetrievalData,
) -> Artifact:
    """Replay the backfilling of a method; the tensors are the lists of its result."""
    inputs = {"head": head.key, "embedded": [a.key for a in embedded], "replay": spec, "seed": seed}

    def make(folder: Path) -> dict[str, Tensor]:
        embeddings = fill(method, embedded, data)
        items = len(embeddings.gallery_old)
        orders = [backfill_order(items, (seed, number)) for number in range(spec["orders"])]
        curve = backfill_curve(
            embeddings,
            orders,
            spec["progress"],
            distance=spec["distance"],
            correct_before=correct_before,
            per_query=correct_before is None,
            show_progress=True,
        )
        lists = {
            "progress": curve.progress,
            "mean_ap": curve.mean_ap,
            "cmc_1": curve.cmc[1],
            "cmc_5": curve.cmc[5],
            "negative_flip_rate": curve.negative_flip_rate,
        }
        log_curve(folder, lists)
        counts = np.array([curve.queries, curve.queries_without_positive])
        lists |= {"mean_ap_orders": curve.mean_ap_orders, "queries": counts}
        if curve.first_rank is not None:
            lists["correct"] = curve.first_rank[:, 0, 0] == 1
        return {key: torch.as_tensor(values) for key, values in lists.items()}

    return cache.get(f"replay-{name}-s{seed}", inputs, make)


def log_curve(folder: Path, lists: dict[str, np.ndarray]) -> None:
    """Write the backfill curve to Lightning's loggers, with the progress in percent as the step."""
    loggers: list[Logger] = [CSVLogger(folder, name="csv"), TensorBoardLogger(folder, name="tensorboard")]
    for logger in loggers:
        for point, ratio in enumerate(lists["progress"]):
            figures = {f"backfill/{key}": float(values[point]) for key, values in lists.items()}
            logger.log_metrics(figures, step=round(100 * ratio))
        logger.finalize("success")
