"""The order in which a gallery is backfilled: which items first, and what one has to know to say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import torch
from torch import Tensor

from compat.backfill import Embeddings, backfill_order
from compat.engine.exact import Distance, Gallery, Queries
from compat.errors import InputError
from compat.gains import backfill_gains
from compat.models import Classifier

Seed = Sequence[int]


@dataclass(frozen=True)
class Known:
    """What an order may look at; each one's `needs` says what it does look at.

    Attributes:
        embeddings: the four matrices, labels and groups.
        old: (G, D_old) the old model's embeddings of the gallery, before any transform.
        classifier: the old model's, or None.
        uncertainty: (G,) of FastFill's head, or None.
        progress: (T,) completion ratios at which retrieval is measured.
        distance: of the retrieval.
    """

    embeddings: Embeddings
    old: Tensor
    classifier: Classifier | None
    uncertainty: Tensor | None
    progress: np.ndarray
    distance: Distance = "cosine"


class Order:
    """An order by scores, the highest first.

    Attributes:
        needs: what has to be known before the backfilling: nothing, the old model's head, labels, new embeddings, ...
    """

    needs = "nothing"

    def scores(self, known: Known) -> Tensor:
        """(G,), the first to backfill highest."""
        raise NotImplementedError

    def orders(self, known: Known, seeds: Sequence[Seed]) -> np.ndarray:
        """Permutations of the gallery (S, G): one, or one for each seed where the order is random."""
        return np.argsort(-self.scores(known).double().numpy(), kind="stable")[None]


class Random(Order):
    """Uniformly random."""

    def orders(self, known: Known, seeds: Sequence[Seed]) -> np.ndarray:
        return np.stack([backfill_order(len(known.old), seed) for seed in seeds])


class Uncertainty(Order):
    """FastFill's: the largest learned log-variance of the forward transform first (arXiv 2303.04766)."""

    needs = "FastFill's head"

    def scores(self, known: Known) -> Tensor:
        if known.uncertainty is None:
            raise InputError("replay.by: Uncertainty without FastFill's head, expected one")
        return known.uncertainty


class Entropy(Order):
    """The largest entropy of the old classifier first: items that the old model is unsure of."""

    needs = "the old model's head"

    def scores(self, known: Known) -> Tensor:
        log = old_logits(known).log_softmax(1)
        return -(log.exp() * log).sum(1)


class Margin(Order):
    """The smallest margin between the old classifier's two most probable classes first."""

    needs = "the old model's head"

    def scores(self, known: Known) -> Tensor:
        first, second = old_logits(known).softmax(1).topk(2, dim=1).values.unbind(1)
        return second - first


def old_logits(known: Known) -> Tensor:
    """The old classifier's logits (G, C_old), float64: a confident model's probabilities differ in late digits."""
    if known.classifier is None:
        raise InputError("replay.by: the old model has no classifier, expected weights with one")
    with torch.inference_mode():
        rows = known.old[:, : known.classifier.linear.in_features].to(known.classifier.linear.weight.dtype)
        return known.classifier(rows).double()


class Density(Order):
    """The densest old neighbourhood first: the smallest mean distance to the nearest neighbours in the old gallery.

    Items in a crowd are the ones that queries confuse.

    Args:
        neighbours: how many.
    """

    def __init__(self, neighbours: int = 10) -> None:
        if neighbours < 1:
            raise InputError(f"neighbours: {neighbours}, expected at least 1")
        self.neighbours = neighbours

    def scores(self, known: Known) -> Tensor:
        rows = _unit(known.old)
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        kept = min(self.neighbours + 1, len(rows))  # itself is one of them
        similarity, _ = index.search(rows, kept)
        return torch.from_numpy(similarity.mean(1))


class ClassDistance(Order):
    """The farthest from its class's mean in the old gallery first, as it is served (lambda-orthogonality's policy)."""

    needs = "labels"

    def scores(self, known: Known) -> Tensor:
        rows = known.embeddings.gallery_old.double()
        labels = known.embeddings.gallery_labels.unique(return_inverse=True)[1]
        sums = rows.new_zeros(int(labels.max()) + 1, rows.shape[1]).index_add_(0, labels, rows)
        return (rows - (sums / labels.bincount()[:, None])[labels]).norm(dim=1)


class Clusters(Order):
    """k-means of the old gallery (faiss), one cluster after the other, in random order of the clusters.

    Args:
        clusters: how many; none: the square root of the gallery's size.
    """

    def __init__(self, clusters: int | None = None) -> None:
        if clusters is not None and clusters < 1:
            raise InputError(f"clusters: {clusters}, expected at least 1")
        self.clusters = clusters

    def orders(self, known: Known, seeds: Sequence[Seed]) -> np.ndarray:
        rows = _unit(known.old)
        count = min(self.clusters or round(len(rows) ** 0.5), len(rows))
        means = faiss.Kmeans(rows.shape[1], count, seed=0, min_points_per_centroid=1, spherical=True)
        means.train(rows)
        cluster = means.assign(rows)[1]
        turns = [np.random.default_rng(seed).permutation(count) for seed in seeds]
        return np.stack([np.argsort(turn[cluster], kind="stable") for turn in turns])


class Scores(Order):
    """A user's own scores from a .npy file, the highest first: access counts, age, a price.

    Args:
        path: of an array (G,).
    """

    needs = "a file"

    def __init__(self, path: str) -> None:
        self.path = path

    def scores(self, known: Known) -> Tensor:
        try:
            scores = np.asarray(np.load(self.path), np.float64)
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise InputError(f"replay.by: {self.path} ({error}), expected scores in a .npy file") from error
        if scores.shape != (len(known.old),) or not np.isfinite(scores).all():
            raise InputError(f"replay.by: {self.path}, shape {scores.shape}, expected {len(known.old)} finite scores")
        return torch.from_numpy(scores)


class Oracle(Order):
    """Greedy: the items whose backfill alone would raise mAP most, judged anew at each completion ratio.

    It sees the labels of queries and gallery and the new embeddings: no order that can be had, but about the ceiling,
    and reversed about the floor. (Within one step gains are added up as if they were independent, so it is
    not an upper bound.)

    Args:
        reverse: those first that would raise mAP least.
    """

    needs = "labels, new embeddings and the queries"

    def __init__(self, reverse: bool = False) -> None:
        self.reverse = reverse

    def orders(self, known: Known, seeds: Sequence[Seed]) -> np.ndarray:
        e, items = known.embeddings, len(known.old)
        queries = Queries(e.query_old, e.query_new, e.query_labels, e.query_groups)
        steps = torch.zeros(1, items, dtype=torch.int64)
        gallery = Gallery(e.gallery_old, e.gallery_new, e.gallery_labels, e.gallery_groups, steps, 1, known.distance)
        backfilled, order = np.zeros(items, bool), np.empty(0, np.int64)
        for end in (int(p * items) for p in [*known.progress, 1.0]):
            if end > len(order):
                gains = backfill_gains(queries, gallery, backfilled)
                ranked = np.argsort(gains if self.reverse else -gains, kind="stable")
                chosen = ranked[~backfilled[ranked]][: end - len(order)]
                order = np.concatenate([order, chosen])
                backfilled[chosen] = True
        return order[None]


def _unit(rows: Tensor) -> np.ndarray:
    return np.ascontiguousarray(torch.nn.functional.normalize(rows.float(), dim=1).numpy())
