"""Make the matrices of an upgrade: read a collection, embed it by both models, and write what a replay reads."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real.environment import Spent, embed, install
from benchmarks.real.pairs import MODELS, UpgradePair
from benchmarks.real.public_data import COLLECTIONS, Collection, read
from compat.files import replace

PARTS = ("query", "gallery", "train")
RECORD = "pair.json"


def make(pair: UpgradePair, sources: Path, work: Path) -> Path:
    """Write the matrices, ids and judgements or labels of an upgrade; embeddings already there are not made again.

    Args:
        pair: the data set and both models.
        sources: the folder with clones of the public repositories.
        work: gets environments, embeddings, and a folder for each upgrade.

    Returns:
        The upgrade's folder: query_old.npy, query_new.npy, gallery_*, train_*; query_labels.npy, gallery_labels.npy and
        train_labels.npy, or qrels.tsv, query_ids.txt, gallery_ids.txt and train_rows.npy (rows of the gallery that are
        the training pairs); pair.json.

    Raises:
        InputError: missing data, or a model that cannot be installed or run.
    """
    collection = read(pair.data, sources)
    folder, spent = work / pair.name, {}
    folder.mkdir(parents=True, exist_ok=True)
    for system, model in (("old", pair.old), ("new", pair.new)):
        rows, spent[system] = embedded(pair.data, model, collection, work)
        if not collection.training:
            rows["train"] = rows["gallery"][collection.own_rows()]
        for part in PARTS:
            np.save(folder / f"{part}_{system}.npy", rows[part])
    write_relevance(collection, folder)
    record = describe(pair, collection, sources, folder, spent)
    replace(folder / RECORD, lambda path: path.write_text(json.dumps(record, indent=1)))
    return folder


def embedded(data: str, model: str, collection: Collection, work: Path) -> tuple[dict[str, np.ndarray], Spent]:
    """Embed a collection by a model, once for all upgrades; return the rows of each part."""
    file = work / "embedded" / f"{data}.{model}.npy"
    inputs = [*collection.queries, *collection.gallery, *collection.training]
    known = file.with_suffix(".json")
    asked = {"inputs": hashlib.sha256(json.dumps(inputs).encode()).hexdigest(), "packages": MODELS[model].packages}
    found: dict[str, Any] = json.loads(known.read_text()) if known.is_file() else {}
    if {name: found.get(name) for name in asked} != json.loads(json.dumps(asked)):
        spent = embed(install(work, MODELS[model].family), model, inputs, file)
        found = {**asked, "spent": spent._asdict()}
        replace(known, lambda path: path.write_text(json.dumps(found)))
    ends = np.cumsum([len(collection.queries), len(collection.gallery)])
    return dict(zip(PARTS, np.split(np.load(file), ends), strict=True)), Spent(**found["spent"])


def write_relevance(collection: Collection, folder: Path) -> None:
    """Write labels, or judgements with ids."""
    if collection.labels is not None:
        for part, labels in zip(PARTS, collection.labels, strict=True):
            np.save(folder / f"{part}_labels.npy", np.array(labels, np.int64))
        return
    ids = [[re.sub(r"\s", "_", one) for one in some] for some in collection.ids]
    for part, some in zip(PARTS, ids, strict=False):
        (folder / f"{part}_ids.txt").write_text("".join(f"{one}\n" for one in some))
    rows = dict.fromkeys((re.sub(r"\s", "_", q), re.sub(r"\s", "_", d), g) for q, d, g in collection.judgements)
    (folder / "qrels.tsv").write_text("".join(f"{query}\t{item}\t{grade}\n" for query, item, grade in rows))
    np.save(folder / "train_rows.npy", collection.own_rows())


def describe(
    pair: UpgradePair, collection: Collection, sources: Path, folder: Path, spent: dict[str, Spent]
) -> dict[str, Any]:
    """Return what identifies the matrices: data, packages, licences, shapes and digests."""
    source = COLLECTIONS[pair.data][1]
    return {
        "pair": pair.name,
        "data": {
            "repository": source.repository,
            "licence": source.licence,
            "sha256": {name: digest(sources / source.folder / name) for name in source.files},
        },
        "queries": len(collection.queries),
        "items": len(collection.gallery),
        "judgements": len(collection.judgements),
        "training pairs": len(collection.training) or len(collection.own_rows()),
        "training pairs are items": not collection.training,
        "models": {
            system: {**MODELS[name]._asdict(), "name": name, **spent[system]._asdict()}
            for system, name in (("old", pair.old), ("new", pair.new))
        },
        "sha256": {file.name: digest(file) for file in sorted(folder.iterdir()) if file.name != RECORD},
    }


def digest(file: Path) -> str:
    """Digest a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
