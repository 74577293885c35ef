"""Read the folder of an upgrade, as `make` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from compat.arrays import read_npy
from compat.batch import Pair
from compat.embeddings import Embeddings
from compat.errors import InputError
from compat.qrels import read_ids, read_qrels
from compat.relevance import Relevance

QRELS, IDS = "qrels.tsv", ("query_ids.txt", "gallery_ids.txt")


class Matrices(NamedTuple):
    """An upgrade.

    Attributes:
        name: of its folder.
        plain: queries and gallery of both models, with labels or judgements.
        pairs: training pairs, their labels -1.
    """

    name: str
    plain: Embeddings
    pairs: Pair

    @property
    def judged(self) -> bool:
        """Whether there are judgements in place of classes."""
        return self.plain.relevance is not None


def load(folder: Path, queries: int | None = None) -> Matrices:
    """Read the matrices, and the labels or judgements, of an upgrade.

    Args:
        folder: of the upgrade.
        queries: take at most so many, drawn at random.

    Raises:
        InputError: a missing or wrong file.
    """
    if not folder.is_dir():
        raise InputError(f"pairs: {folder} (no such folder), expected one that `make` wrote")
    arrays = [rows(folder, part, system) for part in ("query", "gallery") for system in ("old", "new")]
    relevance = read_relevance(folder, len(arrays[0]), len(arrays[2]))
    labels = [] if relevance is not None else [_read(folder, f"{part}_labels") for part in ("query", "gallery")]
    plain = fewer_queries(Embeddings(*arrays, *labels, relevance=relevance), queries)
    old, new = (rows(folder, "train", system) for system in ("old", "new"))
    return Matrices(folder.name, plain, Pair(old, new, torch.full((len(old),), -1)))


def read_relevance(folder: Path, queries: int, items: int) -> Relevance | None:
    """Read the judgements of an upgrade; None without any.

    Raises:
        InputError: a missing or wrong file.
    """
    if not (folder / QRELS).is_file():
        return None
    counts = queries, items
    query_ids, item_ids = (read_ids(name[:-4], folder / name, count) for name, count in zip(IDS, counts, strict=True))
    return read_qrels(folder / QRELS, query_ids, item_ids)


def fewer_queries(plain: Embeddings, most: int | None) -> Embeddings:
    """Draw at most so many queries, with a fixed seed."""
    count = len(plain.query_old)
    if most is None or count <= most:
        return plain
    return plain.subset(queries=np.sort(np.random.default_rng(0).permutation(count)[:most]))


def rows(folder: Path, part: str, system: str) -> Tensor:
    """Read a matrix as float32."""
    return torch.from_numpy(_read(folder, f"{part}_{system}").astype(np.float32))


def _read(folder: Path, name: str) -> np.ndarray:
    return np.asarray(read_npy(name, str(folder / f"{name}.npy"), False, "an array that `make` wrote"))
