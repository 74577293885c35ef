"""Reflect on what the expert's action leads to and what own ones would have (arXiv 2510.08558)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from compat.policies.imitation import Imitation, Units
from compat.policies.networks import SetNetwork
from compat.policies.samples import NONE, Demonstrations


class Differences(NamedTuple):
    """P pairs of the expert's action and another at the same state.

    Attributes:
        states: (P,), rows of the demonstrations.
        action: (P,), the other action.
        groups: (P, M, F), the observation after the expert's action less that after the other.
        overall: (P, A), likewise.
    """

    states: Tensor
    action: Tensor
    groups: Tensor
    overall: Tensor


def differences(demonstrations: Demonstrations, count: int) -> Differences:
    """Compare the expert's action at each state with up to `count` others; more include fewer."""
    d = demonstrations
    states, columns = (d.tried[:, 1 : 1 + count] != NONE).nonzero().T
    groups, overall = (after[states, 0] - after[states, 1 + columns] for after in (d.next_groups, d.next_overall))
    return Differences(states, d.tried[states, 1 + columns], groups, overall)


class SelfReflection(Imitation):
    """SR: imitate the expert, and predict how its next state differs from those of own actions.

    In the paper (section 4.3) a language model writes down, from the two next states, why the expert's action was
    better than another; the policy learns to say this and then the expert's action, without any reward. Here the
    difference of the next observations stands for the words: `SetNetwork.change` predicts it from the state and the
    other action, as a squared error in `Units` beside the loss of imitation.

    Args:
        network: see `Imitation`.
        demonstrations: give the units.
        count: number of own actions per state.
        rate: see `Imitation`.
        decay: see `Imitation`.
    """

    def __init__(
        self,
        network: SetNetwork,
        demonstrations: Demonstrations,
        count: int,
        rate: float = 1e-3,
        decay: float = 1e-2,
    ) -> None:
        super().__init__(network, rate, decay)
        self.count = count
        found = differences(demonstrations, count)
        self.units = Units(found.groups, found.overall)

    def beside(self, encodings: Tensor, batch: Demonstrations) -> dict[str, Tensor]:
        found = differences(batch, self.count)
        if not len(found.states):  # all states are the last of their episodes
            return {}
        predicted = self.network.change(encodings[found.states], found.action)
        return {"reflection": self.units.error(predicted, found.groups, found.overall)}
