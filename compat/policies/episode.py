"""One episode: the part fixed by its first pairs, and its moments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from compat.embeddings import Embeddings
from compat.experience.learners import z_score
from compat.experience.maps import Rows, unit
from compat.experience.world import check_pairs
from compat.policies.groups import cells_of, density, groups_of
from compat.policies.ranking import ItemRanking, Judge, Tally, lines
from compat.policies.world import CENTRES, Known, QuickWorld


class Scene(NamedTuple):
    """The part shared by all episodes of an environment.

    Attributes:
        embeddings: the four matrices, labels and groups.
        old: (G, D_old) unit vectors of the old gallery.
        new: (G, D_new) likewise; an episode reads those of migrated items alone.
        sparsity: (G,) mean distance to the nearest others in the old gallery.
        entropy: (G,) of the old classifier, or None.
        ranking: distances and results of the queries.
        labels: whether mAP may be computed.
    """

    embeddings: Embeddings
    old: Rows
    new: Rows
    sparsity: Rows
    entropy: Rows | None
    ranking: ItemRanking
    labels: bool


def scene(embeddings: Embeddings, entropy: Rows | None, labels: bool) -> Scene:
    """Build the scene of an environment."""
    old, new = unit(embeddings.gallery_old), unit(embeddings.gallery_new)
    return Scene(
        embeddings, old, new, density(old.astype(np.float32)), entropy, ItemRanking(embeddings), labels
    )  # fmt: skip


class EpisodeMoment(NamedTuple):
    """A moment of an episode; its arrays are never changed.

    Attributes:
        order: (N,) items migrated so far, in their order.
        rows: those of the last step.
        migrated: (G,) bool.
        known: sums learned by the world model.
        variance: (G,) of the world model; 0 where migrated.
        distance: (G,) cosine distance to the nearest migrated item in the old space; 0 where migrated.
        errors: (G,) of the world model before it learned the item; 0 where not migrated.
        found: (Q, `TOP`) results of the queries.
        found_before: their results before the last step.
        tally: for mAP; None without labels.
        mean_ap: NaN without labels.
    """

    order: np.ndarray
    rows: np.ndarray
    migrated: np.ndarray
    known: Known
    variance: Rows
    distance: Rows
    errors: Rows
    found: np.ndarray
    found_before: np.ndarray
    tally: Tally | None
    mean_ap: float


class Episode:
    """An episode from its first pairs on.

    Args:
        scene: shared by all episodes.
        turns: a permutation of the gallery, (G,): its first items are migrated at once; it orders the items of a group.
        first: number of items migrated at once.
        cells: of k-means.
        levels: per cell.
        seed: of k-means.

    Attributes:
        merge: the rule merging the two spaces, fitted to the first pairs.
        group: (G,) of each item, -1 for the first pairs.
        members: the items of each group, in their migration order.
        start: the first moment.

    Raises:
        InputError: first pairs all equal, or equally far from each other.
    """

    def __init__(self, scene: Scene, turns: np.ndarray, first: int, cells: int, levels: int, seed: int) -> None:
        self.scene, rows = scene, turns[:first]
        old, new = (torch.from_numpy(space[rows]) for space in (scene.old, scene.new))
        check_pairs(old, new)
        self.merge = z_score(old, old, new)
        self.lines = lines(self.merge)
        self.judge = Judge(scene.ranking, scene.embeddings, self.lines) if scene.labels else None
        self.world = QuickWorld(scene.old, turns[-min(CENTRES, len(turns)) :])
        self.single = scene.old.astype(np.float32)
        self.start = self._start(rows)
        cell, self.ambiguity = cells_of(self.single, cells, seed)
        rest = turns[first:]
        self.group = np.full(len(turns), -1)
        self.group[rest] = groups_of(cell[rest], self.start.variance[rest], levels)
        self.members = [rest[self.group[rest] == group] for group in range(cells * levels)]

    def after(self, moment: EpisodeMoment, group: int) -> EpisodeMoment:
        """Return the moment after migrating a group."""
        rows = self.members[group]
        errors = moment.errors.copy()
        errors[rows] = self.world.errors(moment.known, rows, self.scene.new[rows])
        return self._moment(moment, rows, errors)

    def mean_ap_after(self, moment: EpisodeMoment, group: int) -> float:
        """Compute the mAP after migrating a group, and nothing else."""
        assert self.judge is not None
        assert moment.tally is not None
        return self.judge.mean_ap(self.judge.after(moment.tally, self.members[group]))

    def _start(self, rows: np.ndarray) -> EpisodeMoment:
        """Build the first moment; each first pair's error is a leave-one-out error."""
        items, nothing = len(self.scene.old), np.zeros(len(self.scene.old), bool)
        found = self.scene.ranking.found(self.lines, nothing)
        before = EpisodeMoment(
            order=np.zeros(0, np.int64),
            rows=np.zeros(0, np.int64),
            migrated=nothing,
            known=self.world.nothing(self.scene.new.shape[1]),
            variance=np.ones(items),
            distance=np.full(items, 2.0),
            errors=np.zeros(items),
            found=found,
            found_before=found,
            tally=self.judge.start() if self.judge else None,
            mean_ap=np.nan,
        )
        moment = self._moment(before, rows, np.zeros(items))
        moment.errors[rows] = self.world.errors_left_out(moment.known, rows, self.scene.new[rows])
        return moment

    def _moment(self, before: EpisodeMoment, rows: np.ndarray, errors: Rows) -> EpisodeMoment:
        migrated = before.migrated.copy()
        migrated[rows] = True
        left = np.flatnonzero(~migrated)
        known = self.world.learned(before.known, rows, self.scene.new[rows])
        variance, distance = np.zeros(len(migrated)), np.zeros(len(migrated))
        variance[left] = self.world.variance(known, left)
        nearest = 1 - (self.single[left] @ self.single[rows].T).max(1, initial=-1)
        distance[left] = np.minimum(before.distance[left], np.maximum(nearest, 0))
        tally = self.judge.after(before.tally, rows) if self.judge and before.tally else None
        return EpisodeMoment(
            order=np.concatenate([before.order, rows]),
            rows=rows,
            migrated=migrated,
            known=known,
            variance=variance,
            distance=distance,
            errors=errors,
            found=self.scene.ranking.found(self.lines, migrated),
            found_before=before.found,
            tally=tally,
            mean_ap=self.judge.mean_ap(tally) if self.judge and tally else np.nan,
        )
