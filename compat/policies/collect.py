"""Demonstrations of an expert with all that it tried, and own steps, from environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from compat.environment import OVERALL
from compat.policies.samples import Demonstrations, Transitions

Observation: TypeAlias = Mapping[str, np.ndarray]
Policy: TypeAlias = Callable[[Observation, np.ndarray], int]
Proxy: TypeAlias = Callable[[Observation, int, Observation], float]


def play(environment: Any, policy: Policy, seed: int) -> np.ndarray:
    """The order of the gallery (G,) in which a policy migrates it."""
    observation, info = environment.reset(seed=seed)
    inner = environment.unwrapped
    while (mask := inner.action_masks()).any():
        observation, _, _, _, info = environment.step(policy(observation, mask))
    return np.array(info["order"])


def demonstrate(environment: Any, seeds: Sequence[int], trials: int, proxy: Proxy) -> Demonstrations:
    """Episodes of the greedy expert, and what some other open groups would have led to at each of its states.

    Args:
        environment: with labels.
        seeds: of the episodes; the first also of what is tried.
        trials: others that are tried at each state, as an untrained policy would: any of the open ones.
        proxy: of an observation, an action and the observation after it: what it led to, as seen without labels.
    """
    rows: list[tuple[Any, ...]] = []
    random = np.random.default_rng(seeds[0])
    for episode, seed in enumerate(seeds):
        observation, _ = environment.reset(seed=seed)
        inner = environment.unwrapped
        while (mask := inner.action_masks()).any():
            here, found = inner.state(), inner.gains()
            best = int(np.argmax(found))
            others = random.permutation(np.setdiff1d(np.flatnonzero(mask), [best]))[:trials]
            gains, proxies = (np.full(len(mask), np.nan, np.float32) for _ in range(2))
            for action in (*others.tolist(), best):
                inner.restore(here)
                after, *_ = environment.step(action)
                gains[action], proxies[action] = found[action], proxy(observation, action, after)
            rows.append((observation["groups"], observation["all"], mask, best, gains, proxies, episode))
            observation = after
    return Demonstrations(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))


def own_steps(environment: Any, policy: Policy, seeds: Sequence[int]) -> Transitions:
    """Episodes of a policy, without a look at rewards."""
    rows: list[tuple[Any, ...]] = []
    for episode, seed in enumerate(seeds):
        observation, _ = environment.reset(seed=seed)
        inner = environment.unwrapped
        while (mask := inner.action_masks()).any():
            action = policy(observation, mask)
            after, *_ = environment.step(action)
            rows.append((*(observation[k] for k in ("groups", "all")), action, after["groups"], after["all"], episode))
            observation = after
    return Transitions(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))


def served_share(before: Observation, action: int, after: Observation) -> float:
    """An outcome without labels: for each item, how much more of what the queries find has its new embedding."""
    served, progress = (list(OVERALL).index(name) for name in ("served", "progress"))
    change = after["all"] - before["all"]
    return float(change[served] / change[progress])


class Uniform:
    """What an untrained network samples: any open group.

    Args:
        seed: of the drawing.
    """

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def __call__(self, observation: Observation, mask: np.ndarray) -> int:
        return int(self.random.choice(np.flatnonzero(mask)))
