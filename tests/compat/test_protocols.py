"""Market-1501 and CIFAR-100 as the field evaluates them: slow loops, and scikit-learn's average precision."""

import math
import re

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from compat import Embeddings, backfill_curve, backfill_order
from compat.data import CIFAR100, Market1501
from compat.engine.exact import distances
from tests.helpers.layouts import write_cifar100, write_market1501

SHOT = re.compile(r"(-1|\d{4})_c(\d)")
PROGRESS = [0.0, 0.3, 1.0]


def field_market(distance, query, gallery):
    """Evaluate as person re-identification does, with junk still in the gallery: AP and first rank of each query.

    Args:
        distance: of each query to each image of `bounding_box_test`.
        query: (identity, camera) of each query.
        gallery: likewise.
    """
    found = []
    for row, (identity, camera) in zip(distance, query, strict=True):
        hits, at, precisions = 0, 0, []
        for item in np.argsort(row, kind="stable"):
            its, seen_by = gallery[item]
            if its == -1 or (its, seen_by) == (identity, camera):  # junk, and the same person by the same camera
                continue
            at += 1
            if its == identity:
                hits += 1
                precisions.append((hits / at, at))
        if precisions:
            found.append((np.mean([value for value, _ in precisions]), precisions[0][1]))
    return np.array(found)


@pytest.mark.parametrize("seed", range(5))
def test_market_is_evaluated_as_the_field_does(tmp_path, seed):
    write_market1501(tmp_path)
    data = Market1501(str(tmp_path), height=8, width=4, verify=False)
    files = sorted(path.name for path in (tmp_path / "Market-1501-v15.09.15/bounding_box_test").glob("*.jpg"))
    random = torch.Generator().manual_seed(seed)
    old, new = (dict(zip(files, torch.randn(len(files), 3, generator=random), strict=True)) for _ in range(2))
    queries, gallery = data.query_images(), data.gallery_images()
    q_old, q_new = (torch.randn(len(queries), 3, generator=random) for _ in range(2))
    names = [str(path).split("/")[1] for path in gallery.images]
    assert len(names) < len(files)  # the junk is gone
    g_old, g_new = (torch.stack([rows[name] for name in names]) for rows in (old, new))
    labels = (queries.labels, gallery.labels, queries.groups, gallery.groups)
    order = backfill_order(len(gallery), seed=seed)
    curve = backfill_curve(Embeddings(q_old, q_new, g_old, g_new, *labels), order, PROGRESS, per_query=True)

    def shot(name):
        found = SHOT.match(name)
        assert found is not None
        return int(found[1]), int(found[2])

    asked = [shot(str(path).split("/")[1]) for path in queries.images]
    everything = [torch.stack([rows[name] for name in files]) for rows in (old, new)]
    by_old, by_new = (distances(q, rows, "cosine").numpy() for q, rows in zip((q_old, q_new), everything, strict=True))
    for at, ratio in enumerate(PROGRESS):
        moved = {names[item] for item in order[: math.floor(ratio * len(names))]}
        merged = np.where([name in moved for name in files], by_new, by_old)
        expected = field_market(merged, asked, [shot(name) for name in files])
        assert curve.mean_ap[at] == pytest.approx(expected[:, 0].mean(), abs=1e-6)
        for k in (1, 5):
            assert curve.cmc[k][at] == pytest.approx((expected[:, 1] <= k).mean(), abs=1e-6)
    kept = [(gallery.groups != group) for group in queries.groups]  # as scikit-learn sees it: without the ignored items
    by_new = distances(q_new, g_new, "cosine").numpy()
    learned = [
        average_precision_score((gallery.labels == label)[keep], -row[keep])
        for label, keep, row in zip(queries.labels, kept, by_new, strict=True)
        if (gallery.labels == label)[keep].any()
    ]
    assert curve.mean_ap[-1] == pytest.approx(np.mean(learned), abs=1e-6)


def test_distractors_count_against_a_query_and_junk_does_not(tmp_path):
    """Three distractors before the only hit: AP 1/4; the archive's junk is no item at all."""
    write_market1501(tmp_path)
    data = Market1501(str(tmp_path), height=8, width=4, verify=False)
    gallery = data.gallery_images()
    names = [str(path).split("/")[1] for path in gallery.images]
    hit = next(row for row, name in enumerate(names) if name.startswith("0001_c4"))
    before = [row for row, name in enumerate(names) if name.startswith("0000")][:3]
    angle = torch.full((len(names),), 3.0)
    angle[before], angle[hit] = torch.tensor([0.1, 0.2, 0.3]), 0.4
    items = torch.stack([angle.cos(), angle.sin()], 1)
    keep = torch.ones(len(names), dtype=torch.bool)
    keep[[row for row, name in enumerate(names) if name.startswith("0001") and row != hit]] = False
    query = torch.tensor([[1.0, 0.0]])
    label, group = torch.tensor([1]), torch.tensor([11])
    e = Embeddings(query, query, items[keep], items[keep], label, gallery.labels[keep], group, gallery.groups[keep])
    assert backfill_curve(e, range(int(keep.sum()))).mean_ap[0] == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(5))
def test_cifar_is_evaluated_on_all_images_but_the_query_s_own(tmp_path, seed):
    data = CIFAR100(str(write_cifar100(tmp_path)), verify=False)
    images = data.gallery_images()
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(len(images), 4, generator=random)
    curve = backfill_curve(
        Embeddings(rows, rows, rows, rows, images.labels, images.labels, images.groups, images.groups), range(len(rows))
    )
    distance, labels = distances(rows, rows, "cosine").numpy(), images.labels.numpy()
    precisions, first = [], []
    for query in range(len(rows)):
        others = [item for item in np.argsort(distance[query], kind="stable") if item != query]
        relevant = labels[others] == labels[query]
        precisions.append(average_precision_score(relevant, -distance[query][others]))
        first.append(relevant[0])
    assert curve.mean_ap == pytest.approx(np.full(len(curve.mean_ap), np.mean(precisions)), abs=1e-6)
    assert curve.cmc[1][0] == pytest.approx(np.mean(first), abs=1e-6)
