"""Whether pairs of embeddings are of the domain of a gallery: no labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compat.engine.exact import distances

SAMPLE = 2000  # items and pairs compared
NEAR = 0.95  # quantile of the items' distances to the nearest of other items


def share_uncovered(pairs: Tensor, gallery: Tensor) -> float:
    """Return the share of a gallery's items without a pair near them.

    Near is what holds for 95 % of the items when other items of the gallery, as many, take the place of the pairs: so
    the share is about a twentieth where both are of one domain, about a half with other classes of it, and nearly one
    with another domain. Distances are cosine distances of at most `SAMPLE` rows of each.

    Args:
        pairs: (N, D) embeddings of pairs by one model; the new one tells domains apart best.
        gallery: (G, D) items by the same model.

    Returns:
        The share; 0 for a gallery of fewer than two items.

    Example:
        >>> share_uncovered(-torch.eye(4), torch.eye(4) + 1)
        1.0
    """
    if len(gallery) < 2:
        return 0.0
    items, some = (_drawn(rows) for rows in (gallery, pairs))
    asked, others = items[: len(items) // 2], items[len(items) // 2 :]
    count = min(len(some), len(others))
    near = _nearest(asked, others[:count]).quantile(NEAR)
    return float((_nearest(asked, some[:count]) > near).float().mean())


def _drawn(rows: Tensor) -> Tensor:
    return rows[torch.from_numpy(np.random.default_rng(0).permutation(len(rows))[:SAMPLE])].float()


def _nearest(rows: Tensor, others: Tensor) -> Tensor:
    return distances(rows, others).min(1).values
