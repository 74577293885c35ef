"""True embeddings of a gallery of made-up models by content, and distances recomputed in float64."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from compat.live.models import Models
from compat.methods.upgrade import Upgrade
from compat.models import Precomputed

DIMS = {"old": 8, "new": 12, "next": 12, "other": 12}  # of the made-up models
OLD, NEW = DIMS["old"], DIMS["new"]
FIELDS = ("lang",)  # filters of queries
EXACT = 1e-6  # within which a distance, rounded to float32, is the one expected


class Told:
    """A made-up model: an embedding determined by the content's name alone.

    Args:
        name: of the model; other names embed otherwise.
    """

    def __init__(self, name: str) -> None:
        self.version, self.dim = name, DIMS[name]

    def __call__(self, contents: Sequence[str]) -> np.ndarray:
        return np.array([self.row(content) for content in contents]).reshape(-1, self.dim)

    def row(self, content: str) -> np.ndarray:
        """(D,) float32 of one content."""
        seed = zlib.crc32(f"{self.version} {content}".encode())
        return np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)


class Forward(Upgrade):
    """A gallery rewritten by a matrix when the backfill starts; queries are the new model's."""

    transforms_gallery = True
    encoder_passes = 1

    def __init__(self) -> None:
        super().__init__(Precomputed(OLD), Precomputed(NEW))
        self.register_buffer("matrix", torch.from_numpy(MATRIX.copy()))

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return query_new

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return old @ self.get_buffer("matrix"), new


MATRIX = np.random.default_rng(5).standard_normal((OLD, NEW)).astype(np.float32)


def models(forward: bool = False, old: str = "old", new: str = "new") -> Models:
    """Return the made-up models, of independent systems or with a rewritten gallery."""
    return Models(Told(new), Told(old), Forward() if forward else None)


class ContentOracle:
    """Vectors and distances of any content, without code of the engine.

    Args:
        queries: contents of the queries.
        forward: as in `models`.
        old: name of the old model.
        new: name of the new model.
    """

    def __init__(self, queries: Sequence[str], forward: bool = False, old: str = "old", new: str = "new") -> None:
        self.before, self.after, self.forward = Told(old), Told(new), forward
        self.near, self.far = (model(queries).astype(np.float64) for model in (self.before, self.after))
        self.known: dict[str, dict[str, np.ndarray]] = {}

    def old(self, content: str) -> np.ndarray:
        """Return the old model's embedding, (D_old,)."""
        return self.before.row(content)

    def new(self, content: str) -> np.ndarray:
        """Return the new model's embedding, (D_new,)."""
        return self.after.row(content)

    def distance(self, query: int, content: str, part: str) -> float:
        """Return a query's distance to this content in a part: "old" once a migration runs, "before" else, or "new"."""
        if content not in self.known:
            old, new = self.old(content).astype(np.float64), self.new(content).astype(np.float64)
            before, after = apart(self.near, old), apart(self.far, new)
            bridged = apart(self.far, old @ MATRIX.astype(np.float64)) if self.forward else before
            self.known[content] = {"before": before, "old": bridged, "new": after}
        return float(self.known[content][part][query])


def apart(queries: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return the cosine distances of queries (Q, D) to one row (D,), (Q,) float64."""
    norms = np.sqrt((queries * queries).sum(1) * (row * row).sum())
    return 1 - (queries * row).sum(1) / norms
