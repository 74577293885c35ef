"""Backfill orders: rank the gallery's items, with the inputs each order needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from compat.arrays import read_npy
from compat.engine.exact import Distance, EngineGallery, Queries
from compat.errors import InputError, at_least_one
from compat.gains import backfill_gains
from compat.needs import Given
from compat.progress import backfill_order

Seed = Sequence[int]
NEIGHBOURS = 10


class OrderGiven(Given):
    """The declared inputs of an order, and facts that cost nothing.

    Args:
        needs: the declared names.
        values: the inputs.
        owner: the class that declared them.
        items: G, of the gallery.
        progress: (T,) completion ratios at which retrieval is measured.
        distance: of the retrieval.
    """

    def __init__(
        self,
        needs: Sequence[str],
        values: Mapping[str, Any],
        owner: str,
        *,
        items: int,
        progress: np.ndarray,
        distance: Distance = "cosine",
    ) -> None:
        super().__init__(needs, values, owner)
        self.items, self.progress, self.distance = items, progress, distance


class Order:
    """An order by scores, the highest first.

    Attributes:
        needs: inputs required before the backfill, see `compat.needs`.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    def check(self, items: int) -> None:
        """Refuse a gallery of so many items; a run calls it before anything is trained.

        Raises:
            InputError: the order does not fit. Its field is an argument's name, or a path in the config with dots.
        """

    def scores(self, given: OrderGiven) -> Tensor:
        """Score the gallery's items (G,), the first to backfill highest."""
        raise NotImplementedError

    def orders(self, given: OrderGiven, seeds: Sequence[Seed]) -> np.ndarray:
        """Compute permutations of the gallery (S, G): one, or one per seed if the order is random."""
        return np.argsort(-self.scores(given).double().numpy(), kind="stable")[None]


class Random(Order):
    """Uniformly random."""

    def orders(self, given: OrderGiven, seeds: Sequence[Seed]) -> np.ndarray:
        return np.stack([backfill_order(given.items, seed) for seed in seeds])


class Uncertainty(Order):
    """FastFill's: the largest learned log-variance of the forward transform first (arXiv 2303.04766)."""

    needs: ClassVar[tuple[str, ...]] = ("uncertainty",)

    def scores(self, given: OrderGiven) -> Tensor:
        return given["uncertainty"]


class Entropy(Order):
    """The largest entropy of the old classifier first: items the old model is unsure of."""

    needs: ClassVar[tuple[str, ...]] = ("old gallery", "old classifier")

    def scores(self, given: OrderGiven) -> Tensor:
        log = old_logits(given).log_softmax(1)
        return -(log.exp() * log).sum(1)


class Margin(Order):
    """The smallest margin between the old classifier's two most probable classes first."""

    needs: ClassVar[tuple[str, ...]] = ("old gallery", "old classifier")

    def scores(self, given: OrderGiven) -> Tensor:
        first, second = old_logits(given).softmax(1).topk(2, dim=1).values.unbind(1)
        return second - first


def old_logits(given: OrderGiven) -> Tensor:
    """Compute the old classifier's logits (G, C_old), in float64 as confident probabilities differ in late digits."""
    rows, classifier = given["old gallery"], given["old classifier"]
    if classifier is None:
        raise InputError("replay.by: the old model has no classifier, expected weights with one")
    with torch.inference_mode():
        rows = rows[:, : classifier.linear.in_features].to(classifier.linear.weight.dtype)
        return classifier(rows).double()


class Density(Order):
    """The densest old neighbourhood first: the smallest mean distance to the nearest old neighbours.

    Queries confuse items in a crowd.

    Args:
        neighbours: how many; none: 10, or all others if fewer.

    Raises:
        InputError: less than 1; in `check`: as many as the gallery has items.
    """

    needs: ClassVar[tuple[str, ...]] = ("old gallery",)

    def __init__(self, neighbours: int | None = None) -> None:
        at_least_one(neighbours=neighbours)
        self.neighbours = neighbours

    def check(self, items: int) -> None:
        if self.neighbours is not None and self.neighbours >= items:
            raise InputError(
                f"neighbours: {self.neighbours}, expected at most {items - 1}, as the gallery has {items} items"
            )

    def scores(self, given: OrderGiven) -> Tensor:
        import faiss

        rows = _unit(given["old gallery"])
        self.check(len(rows))
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        kept = min((self.neighbours or NEIGHBOURS) + 1, len(rows))  # itself is one of them
        similarity, _ = index.search(rows, kept)
        return torch.from_numpy(similarity.mean(1))


class ClassDistance(Order):
    """The farthest from its class mean in the served old gallery first (lambda-orthogonality's policy).

    Under cosine retrieval the distances are those of unit vectors, so an item's length does not matter.
    """

    needs: ClassVar[tuple[str, ...]] = ("served old gallery", "gallery labels")

    def scores(self, given: OrderGiven) -> Tensor:
        rows = given["served old gallery"].double()
        if given.distance == "cosine":
            rows = torch.nn.functional.normalize(rows, dim=1)
        labels = given["gallery labels"].unique(return_inverse=True)[1]
        sums = rows.new_zeros(int(labels.max()) + 1, rows.shape[1]).index_add_(0, labels, rows)
        return (rows - (sums / labels.bincount()[:, None])[labels]).norm(dim=1)


class Clusters(Order):
    """Cluster after cluster of a k-means of the old gallery (faiss), the clusters in random order.

    Args:
        clusters: how many; none: the square root of the gallery's size.

    Raises:
        InputError: less than 1; in `check`: more than the gallery has items.
    """

    needs: ClassVar[tuple[str, ...]] = ("old gallery",)

    def __init__(self, clusters: int | None = None) -> None:
        at_least_one(clusters=clusters)
        self.clusters = clusters

    def check(self, items: int) -> None:
        if self.clusters is not None and self.clusters > items:
            raise InputError(f"clusters: {self.clusters}, expected at most {items}, as the gallery has {items} items")

    def orders(self, given: OrderGiven, seeds: Sequence[Seed]) -> np.ndarray:
        import faiss

        rows = _unit(given["old gallery"])
        self.check(len(rows))
        count = self.clusters or round(len(rows) ** 0.5)
        means = faiss.Kmeans(rows.shape[1], count, seed=0, min_points_per_centroid=1, spherical=True)
        means.train(rows)
        cluster = means.assign(rows)[1]
        turns = [np.random.default_rng(seed).permutation(count) for seed in seeds]
        return np.stack([np.argsort(turn[cluster], kind="stable") for turn in turns])


class Scores(Order):
    """A user's own scores from a .npy file, the highest first: access counts, age, a price.

    Args:
        path: of an array (G,).

    Raises:
        InputError: in `check`: a file without such an array.
    """

    needs: ClassVar[tuple[str, ...]] = ("a file",)

    def __init__(self, path: str) -> None:
        self.path = path

    def check(self, items: int) -> None:
        self.read(items)

    def scores(self, given: OrderGiven) -> Tensor:
        return torch.from_numpy(self.read(given.items))

    def read(self, items: int) -> np.ndarray:
        """Read the array (G,), float64."""
        found = read_npy("replay.by", self.path, expected="scores in a .npy file")
        if found.dtype.kind not in "biuf":
            raise InputError(f"replay.by: {self.path} of type {found.dtype}, expected {items} finite scores")
        scores = found.astype(np.float64)
        if scores.shape != (items,) or not np.isfinite(scores).all():
            raise InputError(f"replay.by: {self.path}, shape {scores.shape}, expected {items} finite scores")
        return scores


class Oracle(Order):
    """Greedy: the items whose backfill alone raises mAP most first, judged anew at each completion ratio.

    It reads the labels of queries and gallery and the new embeddings: not an order for real use, but about the ceiling,
    and reversed about the floor. Within one step gains are added as if independent, so it is no upper bound.

    Args:
        reverse: the items that raise mAP least first.
    """

    needs: ClassVar[tuple[str, ...]] = ("all matrices and labels",)

    def __init__(self, reverse: bool = False) -> None:
        self.reverse = reverse

    def orders(self, given: OrderGiven, seeds: Sequence[Seed]) -> np.ndarray:
        e, items = given["all matrices and labels"], given.items
        queries = Queries(e.query_old, e.query_new, e.keys, e.query_groups)
        steps = torch.zeros(1, items, dtype=torch.int64)
        rows = (e.gallery_old, e.gallery_new, e.gallery_labels, e.gallery_groups)
        gallery = EngineGallery(*rows, steps, 1, given.distance, relevance=e.relevance)
        backfilled, order = np.zeros(items, bool), np.empty(0, np.int64)
        for end in (int(p * items) for p in [*given.progress, 1.0]):
            if end > len(order):
                gains = backfill_gains(queries, gallery, backfilled)
                ranked = np.argsort(gains if self.reverse else -gains, kind="stable")
                chosen = ranked[~backfilled[ranked]][: end - len(order)]
                order = np.concatenate([order, chosen])
                backfilled[chosen] = True
        return order[None]


def _unit(rows: Tensor) -> np.ndarray:
    return np.ascontiguousarray(torch.nn.functional.normalize(rows.float(), dim=1).numpy())
