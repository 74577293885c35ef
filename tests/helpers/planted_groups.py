"""An environment that does nothing but add up the worth of groups, which a feature tells: what a policy has to find."""

import numpy as np
from gymnasium import Env, spaces

from compat.errors import InputError
from compat.policies import BackfillEnv

FEATURES = 4  # noise, the worth, done, noise


class PlantedGroups(BackfillEnv):
    """Only the interface is that of `BackfillEnv`; its mAP is the worth of what is migrated.

    Args:
        groups: how many.
    """

    def __init__(self, groups: int = 6) -> None:
        self.groups = groups
        shapes = {"groups": (groups, FEATURES), "all": (2,)}
        self.observation_space = spaces.Dict({k: spaces.Box(-np.inf, np.inf, s, np.float32) for k, s in shapes.items()})
        self.action_space = spaces.Discrete(groups)

    def reset(self, *, seed=None, options=None):
        Env.reset(self, seed=seed)
        self.worth = self.np_random.permutation(self.groups) / (self.groups - 1)
        self.noise = self.np_random.normal(size=(self.groups, 2)).astype(np.float32)
        self.done: list[int] = []
        return self._observed(), self._told([])

    def step(self, action):
        if action in self.done:
            raise InputError(f"action: {action} is done, expected an open group")
        before = self._mean_ap()
        self.done.append(int(action))
        reward = (before + self._mean_ap()) / 2 / self.groups
        return self._observed(), reward, len(self.done) == self.groups, False, self._told([action])

    def action_masks(self):
        return np.array([group not in self.done for group in range(self.groups)])

    def state(self):
        return list(self.done)

    def restore(self, state):
        self.done = list(state)
        return self._observed(), self._told([])

    def gains(self):
        return np.where(self.action_masks(), self.worth / self.worth.sum(), -np.inf)

    def _mean_ap(self):
        return float(self.worth[self.done].sum() / self.worth.sum())

    def _observed(self):
        groups = np.stack([self.noise[:, 0], self.worth, ~self.action_masks(), self.noise[:, 1]], axis=1)
        share = len(self.done) / self.groups
        return {"groups": groups.astype(np.float32), "all": np.array([share, 1 - share], np.float32)}

    def _told(self, pairs):
        return {"order": tuple(self.done), "pairs": tuple(pairs), "mean_ap": self._mean_ap()}
