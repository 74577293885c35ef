"""Collect an expert's demonstrations with the outcomes of other actions, and own steps, from environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import torch

from compat.policies.backfill import BackfillEnv
from compat.policies.features import OVERALL
from compat.policies.rollouts import Observation, Rollout
from compat.policies.samples import Demonstrations, Transitions

Proxy: TypeAlias = Callable[[Observation, int, Observation], float]
SERVED, PROGRESS = (list(OVERALL).index(name) for name in ("served", "progress"))


def served_share(before: Observation, action: int, after: Observation) -> float:
    """Compute an outcome without labels: the gain, per item, in the share of results with a new embedding."""
    change = after["all"] - before["all"]
    return float(change[SERVED] / change[PROGRESS])


def demonstrate(
    env: gymnasium.Env[Any, Any], seeds: Sequence[int], trials: int, proxy: Proxy = served_share
) -> Demonstrations:
    """Run episodes of the greedy expert, and try some other open groups at each of its states.

    Args:
        env: a `BackfillEnv` with labels.
        seeds: of the episodes; the first also of the trials.
        trials: number of other actions per state, drawn like an untrained policy's: any of the open groups.
        proxy: outcome without labels, of an observation, an action and the next observation.
    """
    backfill = env.unwrapped
    assert isinstance(backfill, BackfillEnv)
    rows: list[tuple[Any, ...]] = []
    random = np.random.default_rng(seeds[0])
    for episode, seed in enumerate(seeds):
        observation, _ = env.reset(seed=seed)
        while (mask := backfill.action_masks()).any():
            here, found = backfill.state(), backfill.gains()
            best = int(found.argmax())
            others = random.permutation(np.setdiff1d(np.flatnonzero(mask), [best]))[:trials]
            gains, proxies = (np.full(len(mask), np.nan, np.float32) for _ in range(2))
            for action in (*others.tolist(), best):
                backfill.restore(here)
                after, *_ = env.step(action)
                gains[action], proxies[action] = found[action], proxy(observation, action, after)
            rows.append((observation["groups"], observation["all"], mask, best, gains, proxies, episode))
            observation = after
    return Demonstrations(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))


def transitions(rollouts: Sequence[Rollout]) -> Transitions:
    """Return the steps of episodes, without their rewards."""
    columns = [
        (one.groups[:-1], one.overall[:-1], one.actions, one.groups[1:], one.overall[1:], np.full(len(one.actions), e))
        for e, one in enumerate(rollouts)
    ]
    return Transitions(*(torch.from_numpy(np.concatenate(column)) for column in zip(*columns, strict=True)))
