"""Contrast the outcomes of own alternatives with the expert's at the same state (arXiv 2510.08558)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from compat.errors import InputError
from compat.policies.imitation import Imitation, open_scores
from compat.policies.networks import SetNetwork
from compat.policies.samples import Demonstrations

Outcome: TypeAlias = Literal["gains", "proxies"]


def alternatives(demonstrations: Demonstrations, count: int, seed: int) -> Tensor:
    """Select some of the actions tried beside the expert's.

    Args:
        demonstrations: N states.
        count: K, largest number of others per state.
        seed: of the drawing; a larger count draws the same ones and more.

    Returns:
        (N, M) bool, without the expert's actions.
    """
    others = demonstrations.proxies.isfinite()
    others[torch.arange(len(others)), demonstrations.action] = False
    key = torch.rand(others.shape, generator=torch.Generator().manual_seed(seed)).masked_fill(~others, -1.0)
    place = key.argsort(dim=1, descending=True).argsort(dim=1)
    return others & (place < count)


def regrets(demonstrations: Demonstrations, tried: Tensor, outcome: Outcome) -> Tensor:
    """Compute each alternative's regret against the expert's action, in units of its episode's mean: (N, M).

    The mean is over the absolute differences of the trials in the episode; 0 without trials.

    Args:
        demonstrations: N states.
        tried: (N, M) bool, without the expert's actions.
        outcome: the compared figure: gains of mAP, or figures without labels.
    """
    found = getattr(demonstrations, outcome)
    own = found.gather(1, demonstrations.action[:, None])
    difference = torch.where(tried, own - found, 0.0)
    if not difference.isfinite().all():
        raise InputError(f"{outcome}: an alternative without an outcome, expected one for each alternative")
    episodes = int(demonstrations.episode.max()) + 1
    total = torch.zeros(episodes, dtype=difference.dtype)
    total.index_add_(0, demonstrations.episode, difference.abs().sum(1))
    count = torch.zeros_like(total).index_add_(0, demonstrations.episode, tried.sum(1).to(total))
    scale = total / count.clamp(min=1)
    scale = torch.where(scale > 0, scale, 1.0)
    return difference / scale[demonstrations.episode][:, None]


def reflected(demonstrations: Demonstrations, count: int, seed: int, outcome: Outcome) -> Demonstrations:
    """Replace the outcomes of demonstrations by the contrast `SelfReflection` is trained on.

    Args:
        demonstrations: N states.
        count: K alternatives of each state.
        seed: of their drawing.
        outcome: see `regrets`.

    Returns:
        The same states; `gains` is minus the regret of each tried action, 0 for the expert's, and minus infinity for
        untried ones.
    """
    tried = alternatives(demonstrations, count, seed)
    contrast = (-regrets(demonstrations, tried, outcome)).masked_fill(~tried, -torch.inf)
    contrast.scatter_(1, demonstrations.action[:, None], 0.0)
    return demonstrations._replace(gains=contrast)


def contrast(scores: Tensor, outcomes: Tensor) -> Tensor:
    """Compute the cross-entropy, over tried actions, from the softmax of outcomes to the scores', less its minimum.

    Args:
        scores: (B, M).
        outcomes: (B, M), minus infinity for untried actions.
    """
    tried = outcomes.isfinite()
    target = outcomes.softmax(1)
    log = open_scores(scores, tried).log_softmax(1).masked_fill(~tried, 0.0)
    own = outcomes.log_softmax(1).masked_fill(~tried, 0.0)
    return (target * (own - log)).sum(1).mean()


class SelfReflection(Imitation):
    """SR: imitation, with scores of own alternatives in proportion to their outcomes.

    In the paper a language model writes down why the expert's action was better. Here the difference of the outcomes
    stands for it: `contrast` is added to the imitation loss.

    Args:
        network: see `Imitation`.
        weight: of the contrast.
        rate: see `Imitation`.
        decay: see `Imitation`.
    """

    def __init__(self, network: SetNetwork, weight: float = 1.0, rate: float = 1e-3, decay: float = 1e-2) -> None:
        super().__init__(network, rate, decay)
        self.weight = weight

    def imitation(self, scores: Tensor, batch: Demonstrations) -> Tensor:
        """Compute the loss on demonstrations of `reflected`."""
        return super().imitation(scores, batch) + self.weight * contrast(scores, batch.gains)
