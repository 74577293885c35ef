"""A network as a policy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from compat.policies.imitation import open_scores
from compat.policies.networks import SetNetwork


class LearnedPolicy:
    """Choose the open group of the highest score.

    Args:
        network: trained, or not.
    """

    def __init__(self, network: SetNetwork) -> None:
        self.network = network.eval()

    def __call__(self, observation: Mapping[str, np.ndarray], mask: np.ndarray) -> int:
        groups, overall = (torch.as_tensor(observation[name])[None].float() for name in ("groups", "all"))
        with torch.inference_mode():
            scores = self.network.scores(self.network(groups, overall))
        return int(open_scores(scores, torch.as_tensor(mask, dtype=torch.bool)[None]).argmax())
