"""Collect an expert's demonstrations, with what other actions would have led to at its states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch

from compat.policies.backfill import BackfillEnv
from compat.policies.samples import NONE, Demonstrations, Transitions


def demonstrate(env: gymnasium.Env[Any, Any], seeds: Sequence[int], trials: int) -> Demonstrations:
    """Run episodes of the greedy expert, and try some other open groups at each of its states.

    Args:
        env: a `BackfillEnv` with labels.
        seeds: of the episodes; the first also of the trials.
        trials: number of other actions per state, drawn like an untrained policy's: any of the open groups.
    """
    backfill = env.unwrapped
    assert isinstance(backfill, BackfillEnv)
    rows: list[tuple[Any, ...]] = []
    random = np.random.default_rng(seeds[0])
    for episode, seed in enumerate(seeds):
        observation, _ = env.reset(seed=seed)
        while (mask := backfill.action_masks()).any():
            here, best = backfill.state(), int(backfill.gains().argmax())
            others = random.permutation(np.setdiff1d(np.flatnonzero(mask), [best]))[:trials]
            tried = np.full(1 + trials, NONE)
            tried[: 1 + len(others)] = best, *others
            after = {key: np.zeros((1 + trials, *observation[key].shape), np.float32) for key in ("groups", "all")}
            for column in reversed(range(1 + len(others))):  # the expert's last, from where the episode goes on
                backfill.restore(here)
                following, *_ = env.step(int(tried[column]))
                for key, places in after.items():
                    places[column] = following[key]
            rows.append(
                (observation["groups"], observation["all"], mask, tried, after["groups"], after["all"], episode)
            )
            observation = following
    return Demonstrations(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))


def own_steps(demonstrations: Demonstrations, count: int) -> Transitions:
    """Return the steps of up to `count` other actions at each of the expert's states; more include fewer."""
    d = demonstrations
    states, columns = (d.tried[:, 1 : 1 + count] != NONE).nonzero().T
    return Transitions(
        d.groups[states],
        d.overall[states],
        d.tried[states, 1 + columns],
        d.next_groups[states, 1 + columns],
        d.next_overall[states, 1 + columns],
    )
