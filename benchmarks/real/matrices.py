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
    if (qrels := folder / "qrels.tsv").is_file():
        query_ids = read_ids("query_ids", folder / "query_ids.txt", len(arrays[0]))
        item_ids = read_ids("gallery_ids", folder / "gallery_ids.txt", len(arrays[2]))
        plain = Embeddings(*arrays, relevance=read_qrels(qrels, query_ids, item_ids))
    else:
        plain = Embeddings(*arrays, *(_read(folder, f"{part}_labels") for part in ("query", "gallery")))
    if queries is not None and queries < len(plain.query_old):
        plain = plain.subset(np.sort(np.random.default_rng(0).permutation(len(plain.query_old))[:queries]))
    old, new = (rows(folder, "train", system) for system in ("old", "new"))
    return Matrices(folder.name, plain, Pair(old, new, torch.full((len(old),), -1)))


def rows(folder: Path, part: str, system: str) -> Tensor:
    """Read a matrix as float32."""
    return torch.from_numpy(_read(folder, f"{part}_{system}").astype(np.float32))


def _read(folder: Path, name: str) -> np.ndarray:
    return np.asarray(read_npy(name, str(folder / f"{name}.npy"), False, "an array that `make` wrote"))
