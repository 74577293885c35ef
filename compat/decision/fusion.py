"""Two encoders and two indexes with reciprocal rank fusion: a common practice during migrations."""

from __future__ import annotations

import numpy as np
import torch

from compat.decision.ranking import average_precision, chunk, ranks
from compat.embeddings import Embeddings
from compat.engine.exact import Distance, distances
from compat.progress import backfill_steps, completion_ratios

CONSTANT = 60  # of Cormack, Clarke and Buettcher (SIGIR 2009), and of vector databases offering it


def fused_curve(
    embeddings: Embeddings, order: np.ndarray, progress: object = 11, distance: Distance = "cosine"
) -> tuple[np.ndarray, np.ndarray]:
    """Each query's retrieval while the old index keeps every item and the new one fills up.

    An item scores 1 / (60 + its rank in the old index), plus, once it is migrated, 1 / (60 + its rank in the new
    one); the old index has all items, at the end too. So progress 0 is the old system, and 1 the fusion of both.

    Args:
        embeddings: the four matrices, labels or judgements, and groups.
        order: a permutation of the gallery, (G,).
        progress: completion ratios, (T,), or how many.
        distance: of both indexes.

    Returns:
        (Q, T) average precision, NaN for a query without a positive; (Q, T) rank of the first positive, 0 likewise.
    """
    e, points = embeddings, completion_ratios(progress)
    step = torch.from_numpy(backfill_steps(order, len(e.gallery_old), points)[0])
    queries = len(e.query_old)
    precision = torch.empty(queries, len(points), dtype=torch.float64)
    first = torch.empty(queries, len(points), dtype=torch.int64)
    for rows in torch.arange(queries).split(chunk(len(step))):
        ignored = e.query_groups[rows, None] == e.gallery_groups
        relevant = e.relevant(rows) & ~ignored
        old, new = (
            distances(query[rows], gallery, distance).double().masked_fill_(ignored, torch.inf)
            for query, gallery in ((e.query_old, e.gallery_old), (e.query_new, e.gallery_new))
        )
        by_old = 1 / (CONSTANT + ranks(old).double())
        for point in range(len(points)):
            migrated = (step <= point).expand_as(old)
            by_new = 1 / (CONSTANT + ranks(new.where(migrated, torch.inf)).double())
            keys = -(by_old + by_new.where(migrated, 0.0))
            precision[rows, point], first[rows, point] = average_precision(
                keys.masked_fill_(ignored, torch.inf), relevant
            )
    return precision.numpy(), first.numpy()
