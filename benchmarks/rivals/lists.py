"""Quality of ranked lists, where a tool gives lists in place of embeddings."""

from __future__ import annotations

import numpy as np
import torch

from compat.embeddings import Embeddings
from compat.relevance import Relevance

CUT = 10


def list_figures(lists: np.ndarray, e: Embeddings, right_before: np.ndarray) -> dict[str, float]:
    """Measure lists of ranked items as `compat.backfill_curve` measures whole rankings without ties.

    Args:
        lists: (Q, K) row numbers of items, the nearest first; -1 after the last. An item of a query's own group is left
            out, and the next one takes its rank.
        e: what is relevant.
        right_before: (Q,) whether the old system is right at rank 1.

    Returns:
        ndcg_10 and negative_flip_rate, means over the queries with a relevant item.
    """
    judged = e.relevance or Relevance.of_labels(e.query_labels.cpu().numpy(), e.gallery_labels.cpu().numpy())
    discount = 1 / np.log2(np.arange(CUT) + 2)
    groups = e.gallery_groups.numpy()
    gained, lost = [], []
    for query, ranked in enumerate(lists):
        own = groups == int(e.query_groups[query])
        grades = judged.dense(torch.tensor([query]))[0].clamp_min(0).numpy() * ~own
        if not (grades >= judged.min_grade).any():
            continue
        first = grades[[item for item in ranked if item >= 0 and not own[item]][:CUT]]
        best = np.sort(grades)[::-1][:CUT]
        gained.append((first * discount[: len(first)]).sum() / (best * discount[: len(best)]).sum())
        lost.append(bool(right_before[query]) and not (first[:1] >= judged.min_grade).any())
    return {"ndcg_10": float(np.mean(gained)), "negative_flip_rate": float(np.mean(lost))}
