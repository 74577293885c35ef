"""Groups of the gallery, migrated as one: cells of k-means in the old space, each cut by variance."""

from __future__ import annotations

import faiss
import numpy as np

from compat.experience.maps import Rows

TEMPERATURE = 0.1  # of the soft assignment to cells


def cells_of(old: np.ndarray, cells: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster the old gallery by spherical k-means.

    Args:
        old: (G, D_old) unit vectors, float32.
        cells: number of cells.
        seed: of the first means.

    Returns:
        The cell of each item, (G,), and the entropy of its softmax(cos / `TEMPERATURE`) over the cells, (G,).
    """
    means = faiss.Kmeans(old.shape[1], cells, seed=seed, min_points_per_centroid=1, spherical=True)
    means.train(old)
    logits = old.astype(np.float64) @ np.asarray(means.centroids, np.float64).T / TEMPERATURE
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return logits.argmax(1), -(weights * np.log(np.maximum(weights, 1e-300))).sum(1)


def groups_of(cell: np.ndarray, variance: Rows, levels: int) -> np.ndarray:
    """Cut each cell into levels of equal size, by variance: cell * levels + level, (N,).

    Args:
        cell: (N,).
        variance: (N,), the largest are in the last level.
        levels: number of levels.
    """
    ranked = np.lexsort((variance, cell))
    sizes = np.bincount(cell)
    first = np.cumsum(sizes) - sizes
    level = np.empty(len(cell), np.int64)
    level[ranked] = (np.arange(len(cell)) - first[cell[ranked]]) * levels // sizes[cell[ranked]]
    return cell * levels + level


def density(old: np.ndarray, neighbours: int = 10) -> Rows:
    """Return each item's mean cosine distance to its nearest others in the old gallery, (G,).

    Args:
        old: (G, D_old) unit vectors, float32.
        neighbours: number of others, or all where there are fewer.
    """
    index = faiss.IndexFlatIP(old.shape[1])
    index.add(old)
    kept = min(neighbours + 1, len(old))
    similarity, _ = index.search(old, kept)  # itself is one of them
    return np.maximum(1 - (similarity.astype(np.float64).sum(1) - (old**2).sum(1)) / max(kept - 1, 1), 0)
