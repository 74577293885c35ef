"""The fusion of ranks against a loop, and rankings by keys against scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from compat import backfill_curve, backfill_order
from compat.decision import fusion
from compat.decision.fusion import fused_curve
from compat.decision.ranking import average_precision, ranks
from compat.engine.exact import distances
from tests.helpers.spaces import random_embeddings


def slow_fusion(e, order, progress):
    """Each query and completion ratio by itself."""
    old, new = (d.numpy() for d in (distances(e.query_old, e.gallery_old), distances(e.query_new, e.gallery_new)))
    labels, groups = e.gallery_labels.numpy(), e.gallery_groups.numpy()
    values = np.full((len(old), len(progress)), np.nan)
    firsts = np.zeros((len(old), len(progress)), int)
    for q in range(len(old)):
        kept = groups != e.query_groups[q].item()
        relevant = (labels == e.query_labels[q].item())[kept]
        if not relevant.any():
            continue
        for t, ratio in enumerate(progress):
            migrated = np.zeros(len(labels), bool)
            migrated[order[: int(ratio * len(labels))]] = True
            score = np.zeros(len(labels))
            for item in np.flatnonzero(kept):
                score[item] = 1 / (60 + (old[q][kept] <= old[q, item]).sum())
                if migrated[item]:
                    score[item] += 1 / (60 + (new[q][kept & migrated] <= new[q, item]).sum())
            values[q, t] = average_precision_score(relevant, score[kept])
            best = score[kept][relevant].max()
            firsts[q, t] = 1 + (score[kept][~relevant] >= best).sum()
    return values, firsts


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tied", [False, True])
def test_it_is_what_a_loop_gives(seed, tied):
    e = random_embeddings(seed, tied=tied)
    order, progress = backfill_order(30, seed), [0.0, 0.3, 1.0]
    for fast, slow in zip(fused_curve(e, order, progress), slow_fusion(e, order, progress), strict=True):
        np.testing.assert_allclose(fast, slow, atol=1e-12)


def test_it_starts_as_the_old_system_whatever_the_new_space_is():
    e = random_embeddings(7)
    alone = backfill_curve(e, range(30), [0.0], per_query=True).average_precision
    assert alone is not None
    np.testing.assert_allclose(fused_curve(e, backfill_order(30, 0), [0.0])[0][:, 0], alone[:, 0, 0])


def test_chunks_change_nothing(monkeypatch):
    e, order = random_embeddings(5), backfill_order(30, 1)
    whole = fused_curve(e, order, 3)
    monkeypatch.setattr(fusion, "chunk", lambda items: 5)
    for one, other in zip(whole, fused_curve(e, order, 3), strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20))
def test_average_precision_is_scikit_learns(items):
    keys = torch.tensor([[float(key) for key, _ in items]], dtype=torch.float64)
    relevant = torch.tensor([[flag for _, flag in items]])
    value, first = average_precision(keys, relevant)
    if not relevant.any():
        assert value.isnan().all()
        assert first.tolist() == [0]
        return
    assert value.item() == pytest.approx(average_precision_score(relevant[0].numpy(), -keys[0].numpy()))
    nearest = min(key for key, flag in items if flag)
    assert first.item() == 1 + sum(key <= nearest and not flag for key, flag in items)


def test_ranks_of_equal_keys_are_the_last_of_theirs():
    assert ranks(torch.tensor([[3.0, 1.0, 3.0, 0.5]])).tolist() == [[4, 2, 4, 1]]
