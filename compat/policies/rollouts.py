"""Episodes of a policy, and a data set of them on disk for training others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import gymnasium
import numpy as np

from compat.arrays import Archive, readable
from compat.errors import InputError
from compat.files import replace
from compat.policies.backfill import BackfillEnv
from compat.policies.features import FEATURES, OVERALL

Observation: TypeAlias = dict[str, np.ndarray]
Policy: TypeAlias = Callable[[Observation, np.ndarray], int]


class Rollout(NamedTuple):
    """An episode of T steps.

    Attributes:
        seed: of the environment's `reset`.
        groups: (T + 1, groups, features) observations, the last one after the last step.
        overall: (T + 1, features) likewise, of the key `all`.
        masks: (T + 1, groups) bool, the open groups.
        actions: (T,) int64.
        rewards: (T,) float64.
        order: (G,) int64, the permutation of the gallery.
    """

    seed: int
    groups: np.ndarray
    overall: np.ndarray
    masks: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    order: np.ndarray

    @property
    def gain(self) -> float:
        """Sum of the rewards: the relative gain."""
        return float(self.rewards.sum())


def rollout(env: gymnasium.Env[Any, Any], policy: Policy, seed: int) -> Rollout:
    """Run an episode of a policy.

    Args:
        env: a `BackfillEnv`, wrapped or not.
        policy: chooses by the observation and by the open groups.
        seed: of the episode.
    """
    backfill = env.unwrapped
    assert isinstance(backfill, BackfillEnv)
    observation, info = env.reset(seed=seed)
    seen, masks = [observation], [backfill.action_masks()]
    actions: list[int] = []
    rewards: list[float] = []
    while masks[-1].any():
        actions.append(int(policy(observation, masks[-1])))
        observation, reward, _, _, info = env.step(actions[-1])
        rewards.append(float(reward))
        seen.append(observation)
        masks.append(backfill.action_masks())
    groups, overall = (np.stack([one[name] for one in seen]) for name in ("groups", "all"))
    order = np.array(info["order"], np.int64)
    return Rollout(seed, groups, overall, np.stack(masks), np.array(actions), np.array(rewards), order)


def record(env: gymnasium.Env[Any, Any], policy: Policy, seeds: Sequence[int], path: str | Path) -> list[Rollout]:
    """Roll a policy out and write the episodes into an .npz file.

    Its arrays are those of `Rollout`, of E episodes one after the other: `seed` and `steps` (E,), T of each episode;
    `groups`, `overall` and `masks` (sum of T + 1, ...); `actions` and `rewards` (sum of T,); `order` (E, G);
    `features` and `overall_features` name the columns.

    Args:
        env: see `rollout`.
        policy: likewise.
        seeds: of the episodes.
        path: of the file.

    Raises:
        InputError: no seed.
    """
    if not seeds:
        raise InputError("seeds: none, expected at least one")
    rollouts = [rollout(env, policy, seed) for seed in seeds]
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in rollouts]) for name in Rollout._fields[1:-1]
    }
    arrays |= {
        "seed": np.array(seeds),
        "steps": np.array([len(one.actions) for one in rollouts]),
        "order": np.stack([one.order for one in rollouts]),
        "features": np.array(list(FEATURES)),
        "overall_features": np.array(list(OVERALL)),
    }

    def write(to: Path) -> None:
        with to.open("wb") as file:
            np.savez_compressed(file, **arrays)

    replace(Path(path), write)
    return rollouts


def read(path: str | Path) -> list[Rollout]:
    """Read the episodes of a file written by `record`.

    Raises:
        InputError: no such file, or episodes with features of another version.
    """
    with Archive("episodes", path, "an .npz file of recorded episodes") as file:
        arrays = dict(file)
    for name, names in (("features", FEATURES), ("overall_features", OVERALL)):
        if (found := arrays.get(name, np.array([])).tolist()) != list(names):
            raise InputError(f"{path}: {name} {', '.join(found) or 'none'}, expected {', '.join(names)}")
    if missing := {"seed", "steps", *Rollout._fields[1:]} - set(arrays):
        raise InputError(f"{path}: no {min(missing)}, expected recorded episodes")
    with readable("episodes", path, "recorded episodes"):
        ends = np.cumsum(arrays["steps"])[:-1]
        after = np.cumsum(arrays["steps"] + 1)[:-1]
        columns: dict[str, Any] = {"seed": arrays["seed"].tolist(), "order": list(arrays["order"])}
        columns |= {name: np.split(arrays[name], after) for name in ("groups", "overall", "masks")}
        columns |= {name: np.split(arrays[name], ends) for name in ("actions", "rewards")}
        return [Rollout(**dict(zip(columns, one, strict=True))) for one in zip(*columns.values(), strict=True)]
