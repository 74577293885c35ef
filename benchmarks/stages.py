"""The stages of a benchmark, each a function of its part of the config and of the stages before it.

train -> extract -> train_head: images become weights, weights become embeddings, and a method learns what it needs to
fill the four matrices with them; a `Joint` method trains a new model of its own. Each stage is found again by what it
depends on. `benchmarks.curves` has the last one.
"""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.cache import Artifact, Cache, checksum
from benchmarks.config import Method, build
from benchmarks.matrices import Fitted, System
from benchmarks.training import build_trainer, fit
from compat.data import Part, RetrievalData
from compat.errors import InputError
from compat.methods import Joint, Pair, SingleModel, Teacher, Upgrade
from compat.models import load_embedder, read_checkpoint
from compat.pairs import CachedEmbeddings, PairData

Spec = dict[str, Any]
PARTS = {"old": ("old_classes", "old_images"), "new": ("new_classes", "new_images")}
LOADING = ("batch_size", "num_workers", "images_per_class")
ELSEWHERE = ("root", "on_error", "verify")  # the fingerprint of the images says what these make of them
PREDICTING = ("accelerator", "devices", "num_nodes", "strategy", "plugins", "enable_progress_bar")
DISPLAY = ("enable_progress_bar", "enable_model_summary", "log_every_n_steps", "logger", "default_root_dir", "profiler")


def data_key(spec: Spec, without: tuple[str, ...] = ()) -> Spec:
    """What a stage depends on of the data's config; where the data lies is not a part of it."""
    init_args = {k: v for k, v in spec.get("init_args", {}).items() if k not in (*ELSEWHERE, *without)}
    return {**spec, "init_args": init_args}


def others(part: Part | None) -> tuple[str, ...]:
    """The arguments of the data that say what the other generations see."""
    return tuple(name for owner, names in PARTS.items() if owner != part for name in names)


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
    """What the weights of one generation's model depend on."""
    if path := spec.get("checkpoint"):
        weights = checksum(path) if Path(path).is_file() else path
        return {"model": spec["model"], "checkpoint": weights, "code": own_code(spec), "keeps": "classifier"}
    return {
        "keeps": "classifier",
        "part": part,
        "model": spec["model"],
        "trainer": trainer_key(spec["trainer"]),
        "seed": spec["seed"],
        "data": data_key(data_spec, without=others(part)),
        "images": data.fingerprint()[0],
        "code": own_code([spec, data_spec]),
    }


def training_seed(part: Part, seed: int) -> int:
    """The seed of one generation's training: the same seed and backbone must not give two the same weights."""
    offset = {"old": 0, "new": 1, "newest": 2**31}
    return (2 * seed + offset[part]) % 2**32


def train(cache: Cache, part: Part, spec: Spec, inputs: Spec, data: RetrievalData, name: str | None = None) -> Artifact:
    """Train one generation's model, or read its checkpoint; the tensors are the embedder's weights.

    `inputs` is its `training_key`; `name` is of another model than the part's own, trained on the same images.
    """

    def make(folder: Path) -> dict[str, Tensor]:
        if path := spec.get("checkpoint"):
            return trained(spec["model"], read_checkpoint(path), path).embedder.state_dict()
        seed = training_seed(part, spec["seed"])
        pl.seed_everything(seed, verbose=False)
        module: SingleModel = build(SingleModel, spec["model"])
        data.fit_on(part, seed, module.views)
        fit(module, spec["trainer"], seed, folder, data)
        return module.embedder.state_dict()

    return cache.get(f"train-{name or part}", inputs, make)


def train_jointly(
    cache: Cache,
    spec: Spec,
    training: Spec,
    pair: tuple[System, System],
    data_spec: Spec,
    data: RetrievalData,
    part: Part,
    old_key: Spec,
) -> Fitted:
    """Train a new model of the same architecture, recipe, budget and seed as the plain one, by a method of its own.

    The system after the upgrade is then this model's. `old_key` is the `training_key` of the model before it.
    """
    first, before = data.classes(part).start, data.classes("new" if part == "newest" else "old")
    known = torch.tensor([c - before.start if c in before else -1 for c in data.classes(part)])
    inputs = {
        "training": {**training, "trainer": trainer_key(training["trainer"])},
        "embedded": [system.embedded.key for system in pair],
        "method": spec,
        "data": data_key(data_spec, without=others(part)),
        "images": data.fingerprint()[0],
        "code": own_code([spec, training, data_spec]),
        "known": known.tolist() if "checkpoint" in old_key else None,  # else its training says which classes those are
    }
    seed = training_seed(part, training["seed"])
    pl.seed_everything(seed, verbose=False)
    single: SingleModel = build(SingleModel, training["model"])
    single.materialize(data)
    method: Joint = build(Method, spec)(pair[0].embedder, single.embedder)

    def make(folder: Path) -> dict[str, Tensor]:
        data.fit_on(part, seed)
        rows, labels = data.part_indices(part), data.train_images(augment=False).labels
        old, new = (system.embedded.tensors["train"][rows] for system in pair)
        method.prepare(single, Teacher(old, new, labels[rows] - first, known))
        fit(method, training["trainer"], seed, folder, data)
        return method.heads()

    name = type(method).__name__
    artifact = cache.get(f"joint-{name.lower()}", inputs, make)
    state = {key.removeprefix("new."): value for key, value in artifact.tensors.items() if key.startswith("new.")}
    load_embedder(method.new, state, name)
    method.load_state_dict(artifact.tensors, strict=False)
    single.embedder = method.new
    embedded = extract(cache, part, training, artifact, single.eval(), data_spec, data)
    stages = {"joint": artifact, "extract_joint": embedded}
    return Fitted(method.eval(), artifact, pair[0], System(method.new, embedded), stages)


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
    name: str | None = None,
) -> Artifact:
    """Embed the training images, the gallery and the queries (left out where they are the gallery itself).

    Of several processes each embeds a run of the rows and writes it; the first one puts them together.
    """
    inputs = {
        "weights": weights.key,
        "data": data_key(data_spec, without=(*others(None), *LOADING)),
        "images": data.fingerprint(),
        "code": own_code([spec, data_spec]),
    }

    def make(folder: Path) -> dict[str, Tensor]:
        process = {key: spec["trainer"]["init_args"][key] for key in PREDICTING if key in spec["trainer"]["init_args"]}
        quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
        trainer = build_trainer({**spec["trainer"], "init_args": process}, **quiet)
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

    return cache.get(f"extract-{name or part}", inputs, make)


def train_head(
    cache: Cache,
    name: str,
    spec: Spec,
    heads: Spec,
    pair: tuple[System, System],
    data_spec: Spec,
    data: RetrievalData,
    part: Part,
    seed: int,
) -> Fitted:
    """Train what a method learns, if it learns anything, on the images that the model of `part` is trained on."""
    pl.seed_everything(seed, verbose=False)
    method: Upgrade = build(Method, spec)(*(system.embedder for system in pair))
    if method.side and heads["images"]:
        raise InputError("heads.images: true with side-information, expected false")
    embedded = [system.embedded.key for system in pair]
    if method.side and pair[0].side is not None:
        embedded.append(pair[0].side.key)
    inputs = {"embedded": embedded, "seed": seed, **method_key(method, spec, heads)}
    given = data_spec.get("init_args", {})
    if method.heads():
        inputs["trained_on"] = {name: given.get(name) for name in PARTS.get(part, ()) if given.get(name)} or None
    if heads["images"] and method.heads():
        inputs["data"] = data_key(data_spec, without=("batch_size", *others(None)))

    def make(folder: Path) -> dict[str, Tensor]:
        if not method.heads():
            return {}
        rows = data.part_indices(part)
        labels = data.train_images(augment=False).labels[rows] - data.classes(part).start  # as the new classifier's
        old, new = pair[0].rows("train", method.side)[rows], pair[1].rows("train")[rows]
        method.solve(Pair(old, new, labels))
        if is_overridden("training_step", method):
            items = PairData(CachedEmbeddings(old, new, labels), heads["batch_size"], seed)
            if heads["images"]:
                images = data.train_images(augment=True).subset(rows)
                images.labels = labels
                items = PairData(images, heads["batch_size"], seed, data.num_workers)
            fit(method, heads["trainer"], seed, folder, items)
        return method.heads()

    artifact = cache.get(f"head-{name}-s{seed}", inputs, make)
    method.load_state_dict(artifact.tensors, strict=False)
    return Fitted(method.eval(), artifact, pair[0], pair[1], {"head": artifact})


def method_key(method: Upgrade, spec: Spec, heads: Spec) -> Spec:
    """What a method's head depends on of the config; how heads are trained only if it has one."""
    learned = method.heads() and not isinstance(method, Joint)
    training = {**heads, "trainer": trainer_key(heads["trainer"])} if learned else None
    return {"method": spec, "heads": training, "code": own_code(spec)}
