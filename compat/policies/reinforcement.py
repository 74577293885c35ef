"""Reinforcement learning of a network over groups by sb3-contrib's MaskablePPO, from any starting weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compat.errors import InputError
from compat.policies.networks import SetNetwork

try:
    from gymnasium import Env
    from sb3_contrib import MaskablePPO
    from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import DummyVecEnv
except ImportError as error:
    raise InputError("sb3_contrib: not installed, expected it: pip install compat-bench[policies]") from error


class ScoresAndValue(BaseFeaturesExtractor):
    """The scores of the groups, followed by the value: (B, M + 1).

    Args:
        observation_space: with `groups` (M, F) and `all` (A,).
        network: trained in place.
    """

    def __init__(self, observation_space: Any, network: SetNetwork) -> None:
        super().__init__(observation_space, observation_space["groups"].shape[0] + 1)
        self.network = network

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        encodings = self.network(observation["groups"], observation["all"])
        return torch.cat([self.network.scores(encodings), self.network.value(encodings)], dim=1)


class Parted(nn.Module):
    """Split the output of `ScoresAndValue`."""

    def forward(self, both: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(both), self.forward_critic(both)

    def forward_actor(self, both: Tensor) -> Tensor:
        """Return the scores, (B, M)."""
        return both[:, :-1]

    def forward_critic(self, both: Tensor) -> Tensor:
        """Return the value, (B, 1)."""
        return both[:, -1:]


class GroupPolicy(MaskableActorCriticPolicy):
    """An actor and a critic as heads of one network over groups; sb3's own layers between are left out."""

    def _build(self, lr_schedule: Any) -> None:
        self.mlp_extractor = Parted()  # type: ignore[assignment]
        self.action_net, self.value_net = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]


def reinforce(
    network: SetNetwork,
    environments: Sequence[Callable[[], Env[Any, Any]]],
    steps: int,
    seed: int,
    *,
    horizon: int = 32,
    rate: float = 3e-4,
) -> SetNetwork:
    """Train a copy of a network for a number of steps in all environments together.

    Rewards are not discounted, as an episode ends with a complete migration; PPO's other arguments are sb3's, except
    for larger batches.

    Args:
        network: the start; it is not changed.
        environments: factories of environments with equal numbers of groups.
        steps: in all of them, rounded up to whole rollouts.
        seed: of actions and episodes.
        horizon: steps in each environment between two updates of the network.
        rate: learning rate of Adam.
    """
    if steps < 1:
        raise InputError(f"steps: {steps}, expected at least 1")
    learned = copy.deepcopy(network).train()
    vectorised = DummyVecEnv(list(environments))
    with torch.random.fork_rng(devices=[]):
        model = MaskablePPO(
            GroupPolicy,
            vectorised,
            learning_rate=rate,
            n_steps=horizon,
            batch_size=min(256, horizon * len(environments)),
            gamma=1.0,
            seed=seed,
            device="cpu",
            policy_kwargs={
                "features_extractor_class": ScoresAndValue,
                "features_extractor_kwargs": {"network": learned},
            },
        )
        model.set_logger(Logger(None, []))  # the default one makes a folder among the temporary files
        model.learn(steps)
    vectorised.close()
    learned.eval()
    return learned
