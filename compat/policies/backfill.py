"""The environment: a gallery backfilled group by group."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from compat.embeddings import Array, Embeddings
from compat.errors import InputError, at_least_one, share
from compat.merge import Merge
from compat.policies.episode import Episode, EpisodeMoment, scene
from compat.policies.features import FEATURES, LIMIT, OVERALL, Features
from compat.policies.ranking import AS_THEY_ARE, Judge

FEWEST = 3  # pairs; two have one distance, which has no spread


class EnvironmentState(NamedTuple):
    """A state of an environment; immutable, so keeping one costs nothing."""

    episode: Episode
    features: Features
    moment: EpisodeMoment


class BackfillEnv(gymnasium.Env[dict[str, np.ndarray], np.int64]):
    """Choose which group of a gallery to migrate next, without labels.

    A random share of the gallery is migrated at the start, the same for each policy with one seed. These pairs give the
    z-scores for merging the two spaces (`merge`), and a first world model. The groups are cells of spherical k-means in
    the old space, each cut by the world model's variance; they exclude the items migrated at the start. An action is an
    open group; its items are migrated in a random order.

    Observations include the results of the queries. Where the queries are the gallery's own images, their new
    embeddings are seen from the start, as queries.

    The reward of a step is its part of the relative gain: the trapezoid of (mAP - old) / (new - old) over the share of
    the items left at the start. The rewards of an episode add up to the relative gain of `compat.backfill_curve` by
    `merge` at the moments of the episode.

    Distances of all queries to all items stay in memory (17 bytes each, and 5 more with labels), which limits the
    number of queries.

    Args:
        embeddings: the four matrices, labels and groups, on the CPU; without `labels` their labels are not read.
        cells: of k-means.
        levels: of variance per cell.
        first: share of the gallery migrated at the start.
        labels: whether mAP may be computed; else every reward is 0.
        entropy: of the old classifier for each item of the gallery, (G,), if available.

    Raises:
        InputError: fewer than three first pairs or than one item per group, an entropy with NaN or of another length,
            with labels no query with a positive or a new system no better than the old one.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as gymnasium has it

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        cells: int = 16,
        levels: int = 2,
        first: float = 0.02,
        labels: bool = True,
        entropy: Array | None = None,
    ) -> None:
        at_least_one(cells=cells, levels=levels)
        share(first=first)
        items = len(embeddings.gallery_old)
        self.first, self.cells, self.levels = int(first * items), cells, levels
        if self.first < FEWEST:
            raise InputError(f"first: {first:g} of {items} items is {self.first}, expected {FEWEST} or more")
        if cells * levels > (left := items - self.first):
            raise InputError(f"cells: {cells} of {levels} levels for {left} items, expected as many items as groups")
        self.scene = scene(embeddings, None if entropy is None else _entropies(entropy, items), labels)
        self.old, self.new = self._ends() if labels else (np.nan, np.nan)
        self.action_space = spaces.Discrete(cells * levels)
        groups = spaces.Box(-LIMIT, LIMIT, (cells * levels, len(FEATURES)), np.float32)
        every = spaces.Box(-LIMIT, LIMIT, (len(OVERALL),), np.float32)
        self.observation_space: spaces.Space[Any] = spaces.Dict({"groups": groups, "all": every})
        self._state: EnvironmentState | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode; options are ignored."""
        super().reset(seed=seed)
        turns = self.np_random.permutation(len(self.scene.old))
        clusters = int(self.np_random.integers(2**31 - 1))
        episode = Episode(self.scene, turns, self.first, self.cells, self.levels, clusters)
        self._state = EnvironmentState(episode, Features(episode), episode.start)
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Migrate a group.

        Raises:
            InputError: a migrated, empty or missing group; no reset yet.
        """
        state, mask = self.state(), self.action_masks()
        if np.shape(action) or not np.issubdtype(np.asarray(action).dtype, np.integer):
            raise InputError(f"action: {action!r}, expected the number of a group")
        if not (0 <= action < len(mask) and mask[action]):
            why = "no group" if not 0 <= action < len(mask) else "done" if self._size(action) else "an empty group"
            raise InputError(f"action: {action} is {why}, expected one of {np.flatnonzero(mask).tolist()}")
        moment = state.episode.after(state.moment, int(action))
        self._state = state._replace(moment=moment)
        reward = 0.0
        if self.scene.labels:
            height = (state.moment.mean_ap + moment.mean_ap) / 2
            width = len(moment.rows) / (len(self.scene.old) - self.first)
            reward = float((height - self.old) / (self.new - self.old) * width)
        return self._observation(), reward, bool(moment.migrated.all()), False, self._info()

    def action_masks(self) -> np.ndarray:
        """Return the open groups, neither migrated nor empty, (groups,) bool."""
        state = self.state()
        return state.features.open(state.moment)

    def state(self) -> EnvironmentState:
        """Return the state, to `restore` it later.

        Raises:
            InputError: no reset yet.
        """
        if self._state is None:
            raise InputError("state: none, expected a call of reset")
        return self._state

    def restore(self, state: EnvironmentState) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Restore a state; returns its observation and info, as `reset` does."""
        self._state = state
        return self._observation(), self._info()

    def gains(self) -> np.ndarray:
        """Compute the gain of mAP per item of migrating each group next, (groups,); minus infinity for closed groups.

        Raises:
            InputError: there are no labels.
        """
        if not self.scene.labels:
            raise InputError("labels: False, expected an environment with labels")
        episode, _, moment = self.state()
        gains = np.full(self.cells * self.levels, -np.inf)
        for group in np.flatnonzero(self.action_masks()).tolist():
            gains[group] = (episode.mean_ap_after(moment, group) - moment.mean_ap) / self._size(group)
        return gains

    @property
    def merge(self) -> Merge:
        """The merge rule of this episode."""
        return self.state().episode.merge

    def _size(self, group: int) -> int:
        return len(self.state().episode.members[group])

    def _observation(self) -> dict[str, np.ndarray]:
        _, features, moment = self.state()
        return features.of(moment)

    def _info(self) -> dict[str, Any]:
        """Return tuples, as vector environments stack them."""
        moment = self.state().moment
        info: dict[str, Any] = {"order": tuple(moment.order.tolist()), "pairs": tuple(moment.rows.tolist())}
        return {**info, "mean_ap": moment.mean_ap} if self.scene.labels else info

    def _ends(self) -> tuple[float, float]:
        """Return the mAP of the old and of the new system."""
        judge = Judge(self.scene.ranking, self.scene.embeddings, AS_THEY_ARE)
        start = judge.start()
        old, new = (judge.mean_ap(t) for t in (start, judge.after(start, np.arange(len(self.scene.old)))))
        if np.isnan(old):
            raise InputError("labels: no query has a relevant gallery item, expected some, or labels=False")
        if new <= old:
            raise InputError(f"labels: mAP {old:.4f} before and {new:.4f} after, expected a gain, or labels=False")
        return old, new


def _entropies(entropy: Array, items: int) -> np.ndarray:
    values = np.asarray(entropy, np.float64)
    if values.shape != (items,) or not np.isfinite(values).all() or (values < 0).any():
        raise InputError(f"entropy: shape {values.shape}, expected {items} finite values of 0 and more")
    return values
