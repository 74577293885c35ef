"""Express z-scored distances as plain ones, whose replay is a hundred times as fast as under a merge rule."""

from __future__ import annotations

import torch
from torch import Tensor

from compat.embeddings import Embeddings
from compat.errors import InputError
from compat.merge import Merge
from compat.policies.ranking import lines


def scaled(embeddings: Embeddings, merge: Merge) -> Embeddings:
    """Scale embeddings: their squared Euclidean distances become the z-scored cosine distances, plus one constant.

    For unit vectors u and v the cosine distance is |u - v|^2 / 2. Vectors are scaled by the root of the slope; an
    additional coordinate of the items, zero in queries, accounts for the difference of the two spaces' offsets.

    Args:
        embeddings: the four matrices.
        merge: a fitted `compat.merge.ZScore`.

    Raises:
        InputError: a zero vector, which has no direction; a rule with more than one line per space.
    """
    if merge.scales is None or any(len(scale.x) != 2 for scale in merge.scales):
        raise InputError(f"merge: {type(merge).__name__}, expected fitted z-scores")
    x, y, slopes = lines(merge).T
    at_zero = y - slopes * x
    e, columns = embeddings, {}
    for time, slope, height in zip(("old", "new"), slopes.tolist(), at_zero.tolist(), strict=True):
        for name, extra in ((f"query_{time}", 0.0), (f"gallery_{time}", (height - min(at_zero)) ** 0.5)):
            columns[name] = _longer(name, getattr(e, name), (slope / 2) ** 0.5, extra)
    return e.replace(**columns)


def _longer(name: str, rows: Tensor, length: float, extra: float) -> Tensor:
    """Extend rows to a length by one more coordinate."""
    norms = rows.double().norm(dim=1, keepdim=True)
    if not (norms > 0).all():
        raise InputError(f"{name}: a zero vector in row {int((norms == 0).nonzero()[0, 0])}, expected a direction")
    return torch.cat([length * rows / norms, torch.full_like(norms, extra)], dim=1)
