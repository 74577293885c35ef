"""Whether pairs of embeddings are of the domain of a gallery: no labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compat.engine.exact import distances

SAMPLE = 2000  # items and pairs compared
FAR = 0.95  # quantile of the items' distances to their nearest other item


def share_outside(pairs: Tensor, gallery: Tensor) -> float:
    """Return the share of pairs farther from their nearest item than 95 % of the items are from theirs.

    About a twentieth where both are of one domain, nearly all where a model embeds another one; cosine distances.

    Args:
        pairs: (N, D) embeddings of pairs by one model; an item's own embedding among them is inside.
        gallery: (G, D) items by the same model, two or more.

    Example:
        >>> share_outside(-torch.eye(3), torch.eye(3) + 1)
        1.0
    """
    items, some = (rows[_drawn(len(rows))].float() for rows in (gallery, pairs))
    among = distances(items, items).fill_diagonal_(torch.inf).min(1).values
    return float((distances(some, items).min(1).values > among.quantile(FAR)).float().mean())


def _drawn(count: int) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(count)[:SAMPLE])
