"""Features of a moment for a policy: free of labels, and invariant to rotations of either space.

Most are ratios to the gallery's mean, so galleries are comparable.
"""

from __future__ import annotations

import numpy as np

from compat.experience.maps import Rows
from compat.policies.episode import Episode, EpisodeMoment

FEATURES = {
    "open": "1 where the group may be migrated, 0 where it is done or empty",
    "size": "its items, by the mean group's",
    "density": "the gallery's mean distance to the 10 nearest others in the old space, by the group's",
    "spread": "mean distance to the group's mean direction in the old space, by the gallery's",
    "distance": "mean distance to the nearest migrated item in the old space, by the gallery's at the first pairs",
    "variance": "the world model's mean variance, by the gallery's at the first pairs",
    "error": "the world model's mean error on the 10 migrated items nearest to the group, by that on the first pairs",
    "wanted": "its share of the queries' 10 nearest items in the old space, by its share of the gallery",
    "served": "its share of the 10 nearest items as they are served now, likewise",
    "change": "how much that grew in the last step",
    "ambiguity": "mean entropy of its items' soft assignment to cells, by the gallery's",
    "entropy": "mean entropy of the old classifier, by the gallery's; 1 if none was handed in",
}
OVERALL = {
    "progress": "share of the gallery that is migrated",
    "open": "share of the groups that may be migrated",
    "variance": "the world model's mean variance of what is left, by that at the first pairs",
    "error": "the world model's mean error on the last step's pairs, by the variance of the first pairs' embeddings",
    "served": "share of the queries' 10 nearest items, as they are served now, that are migrated",
    "change": "share of these that were not there before the last step",
    "agreement": "correlation of the first pairs' distances to each other in both spaces",
}
LIMIT = 10.0  # of every feature
NEAR = 10


class Features:
    """Features of the moments of an episode.

    Args:
        episode: its groups are fixed.
    """

    def __init__(self, episode: Episode) -> None:
        scene = episode.scene
        self.episode = episode
        self.sizes = np.array([len(rows) for rows in episode.members])
        self.rest = np.flatnonzero(episode.group >= 0)
        self.own = episode.group[self.rest]
        groups = len(self.sizes)
        centres = np.zeros((groups, scene.old.shape[1]))
        np.add.at(centres, self.own, scene.old[self.rest])
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        self.near = (centres @ scene.old.T).astype(np.float32)
        spread = np.zeros(len(scene.old))
        spread[self.rest] = 1 - self.near[self.own, self.rest]
        first = episode.start
        self.fixed = {
            "size": self.sizes * groups / len(self.rest),
            "density": ratio(scene.sparsity.mean(), self._mean(scene.sparsity)),
            "spread": ratio(self._mean(spread), spread[self.rest].mean()),
            "wanted": self._share(first.found_before),
            "ambiguity": ratio(self._mean(episode.ambiguity), episode.ambiguity.mean()),
            "entropy": np.ones(groups),
        }
        if scene.entropy is not None:
            self.fixed["entropy"] = ratio(self._mean(scene.entropy), scene.entropy.mean())
        self.distance, self.variance = first.distance[self.rest].mean(), first.variance[self.rest].mean()
        self.error = first.errors[first.rows].mean()
        self.unknown = scene.new[first.rows].var(0).sum()
        pairs = np.triu_indices(len(first.rows), 1)
        within = [(space[first.rows] @ space[first.rows].T)[pairs] for space in (scene.old, scene.new)]
        self.agreement = np.corrcoef(*within)[0, 1]

    def of(self, moment: EpisodeMoment) -> dict[str, np.ndarray]:
        """Compute `groups` (groups, `FEATURES`) and `all` (`OVERALL`,), float32 within +-`LIMIT`; 0 if empty."""
        served = self._share(moment.found)
        is_open = self.open(moment)
        values = {
            **self.fixed,
            "open": is_open,
            "distance": ratio(self._mean(moment.distance), self.distance),
            "variance": ratio(self._mean(moment.variance), self.variance),
            "error": ratio(self._errors(moment), self.error),
            "served": served,
            "change": served - self._share(moment.found_before),
        }
        groups = np.stack([values[name] for name in FEATURES], 1) * (self.sizes > 0)[:, None]
        some = moment.found >= 0
        left = moment.variance[~moment.migrated]
        overall = {
            "progress": moment.migrated.mean(),
            "open": is_open.mean(),
            "variance": ratio(left.mean() if len(left) else 0.0, self.variance),
            "error": ratio(moment.errors[moment.rows].mean(), self.unknown),
            "served": moment.migrated[moment.found[some]].mean(),
            "change": 1 - kept(moment.found_before, moment.found).sum() / some.sum(),
            "agreement": self.agreement,
        }
        every = np.array([overall[name] for name in OVERALL])
        return {"groups": limited(groups), "all": limited(every)}

    def open(self, moment: EpisodeMoment) -> np.ndarray:
        """Return the open groups, (groups,) bool."""
        left = np.bincount(self.own, ~moment.migrated[self.rest], len(self.sizes))
        return left > 0

    def _mean(self, values: Rows) -> Rows:
        """Average a value of items (G,) over each group."""
        return np.bincount(self.own, values[self.rest], len(self.sizes)) / np.maximum(self.sizes, 1)

    def _share(self, found: np.ndarray) -> Rows:
        """Compute each group's share of the results (Q, `TOP`), over its share of the gallery."""
        group = self.episode.group[found[found >= 0]]
        hits = np.bincount(group + 1, minlength=len(self.sizes) + 1)[1:]
        return hits / len(group) * len(self.episode.group) / np.maximum(self.sizes, 1)

    def _errors(self, moment: EpisodeMoment) -> Rows:
        """Average the errors on the migrated items nearest to each group."""
        count = min(NEAR, len(moment.order))
        among = np.argpartition(-self.near[:, moment.order], count - 1, axis=1)[:, :count]
        return moment.errors[moment.order[among]].mean(1)


def ratio(values: Rows | float, by: Rows | float) -> Rows:
    """Divide element by element; 1 for 0 / 0, `LIMIT` for any other division by 0."""
    above, below = np.broadcast_arrays(np.asarray(values, float), np.asarray(by, float))
    without = np.where(above > 0, LIMIT, 1.0)
    return np.divide(above, below, out=without, where=below > 0)


def kept(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Count each query's items, (Q, `TOP`) and -1 for none, already there before, (Q,)."""
    return ((now[:, :, None] == before[:, None, :]) & (now >= 0)[:, :, None]).sum((1, 2))


def limited(values: Rows) -> np.ndarray:
    return np.clip(values, -LIMIT, LIMIT).astype(np.float32)
