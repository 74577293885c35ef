"""A pair of models: matrices, what is relevant, and pairs to learn from, read from a folder.

Folders that `python -m benchmarks.real` makes are such, and those with files named as the options of `compat-bench
replay`: `query_old.npy`, `query_new.npy`, `gallery_old.npy`, `gallery_new.npy`; `query_labels.npy` and
`gallery_labels.npy`, or `qrels.tsv`, `query_ids.txt` and `gallery_ids.txt`; where there are any, `query_groups.npy` and
`gallery_groups.npy`, and training pairs, `train_old.npy` and `train_new.npy` (`train_rows.npy`: their rows in the
gallery). Without training pairs 500 items of the gallery, drawn with a fixed seed, take their place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.artifacts.artifact import checksum
from benchmarks.embeddings.arrays import load_array
from benchmarks.real.matrices import IDS, QRELS, fewer_queries, read_relevance
from compat.embeddings import Embeddings, finite_matrix
from compat.errors import InputError

MATRICES = ("query_old", "query_new", "gallery_old", "gallery_new")
LABELS = ("query_labels", "gallery_labels")
GROUPS = ("query_groups", "gallery_groups")
TRAINING, ROWS = ("train_old", "train_new"), "train_rows.npy"
OWN_PAIRS = 500


@dataclass(frozen=True)
class ModelPair:
    """A pair of models on one data set; rows are of length 1.

    Attributes:
        name: of the folder.
        plain: the four matrices of the two plain systems.
        train_old, train_new: (N, D_old) and (N, D_new) pairs to learn from.
        own_pairs: whether these are items of the gallery.
        queries_are_items: whether a query is an item of the gallery, which it ignores.
        digest: of all files read.
    """

    name: str
    plain: Embeddings
    train_old: Tensor
    train_new: Tensor
    own_pairs: bool
    queries_are_items: bool
    digest: str


def read_pair(folder: Path, most_queries: int | None = None) -> ModelPair:
    """Read a folder.

    Args:
        folder: of the files.
        most_queries: of more queries that many are drawn, with a fixed seed.

    Raises:
        InputError: a missing or wrong file; the message names it.
    """
    if not folder.is_dir():
        raise InputError(f"folder: {folder} (no such folder), expected matrices of a pair of models")
    names = [*MATRICES, *(name for name in (*LABELS, *GROUPS, *TRAINING) if (folder / f"{name}.npy").is_file())]
    arrays = {name: load_array(name, str(folder / f"{name}.npy")) for name in names}
    found = {name: normalize(finite_matrix(name, arrays.pop(name)).float(), dim=1) for name in MATRICES}
    files = [folder / f"{name}.npy" for name in names]
    train = [arrays.pop(name, None) for name in TRAINING]
    relevance = read_relevance(folder, len(found["query_new"]), len(found["gallery_new"]))
    if relevance is not None:
        files += [folder / name for name in (QRELS, *IDS)]
        arrays = {name: arrays[name] for name in GROUPS if name in arrays}
    plain = Embeddings(**found, **arrays, relevance=relevance)
    own = bool(torch.isin(plain.query_groups, plain.gallery_groups).any())
    plain = fewer_queries(plain, most_queries)
    pairs = _training(plain, train)
    digest = hashlib.sha256("".join(checksum(file) for file in sorted(files)).encode()).hexdigest()[:16]
    inside = train[0] is None or (folder / ROWS).is_file()
    return ModelPair(folder.resolve().name, plain, *pairs, inside, own, digest)


def _training(plain: Embeddings, given: list[Any]) -> tuple[Tensor, Tensor]:
    """Return pairs to learn from: the given ones, or some of the gallery."""
    if (given[0] is None) != (given[1] is None):
        raise InputError("train_old.npy, train_new.npy: one of them alone, expected both or neither")
    if given[0] is None:
        rows = np.sort(np.random.default_rng(0).permutation(len(plain.gallery_old))[:OWN_PAIRS])
        return plain.gallery_old[rows], plain.gallery_new[rows]
    old, new = (normalize(finite_matrix(name, rows).float(), dim=1) for name, rows in zip(TRAINING, given, strict=True))
    wanted = len(old), plain.gallery_old.shape[1], plain.gallery_new.shape[1]
    if (len(new), old.shape[1], new.shape[1]) != wanted:
        shapes = f"shapes {tuple(old.shape)} and {tuple(new.shape)}"
        raise InputError(f"train_old.npy, train_new.npy: {shapes}, expected as many rows and the galleries' columns")
    return old, new
