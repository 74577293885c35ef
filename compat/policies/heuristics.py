"""Policies that look at one feature of each group."""

from __future__ import annotations

import numpy as np

from compat.errors import InputError
from compat.policies.features import FEATURES
from compat.policies.rollouts import Observation, Policy

COLUMNS = {name: column for column, name in enumerate(FEATURES)}


class RandomPolicy:
    """Any open group.

    Args:
        seed: of the choices.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)

    def __call__(self, observation: Observation, mask: np.ndarray) -> int:
        return int(self.random.choice(np.flatnonzero(mask)))


class Largest:
    """The open group with the largest value of a feature; of several the first.

    Args:
        feature: one of `FEATURES`.

    Raises:
        InputError: no such feature.
    """

    def __init__(self, feature: str) -> None:
        if feature not in COLUMNS:
            raise InputError(f"feature: {feature!r}, expected one of {', '.join(COLUMNS)}")
        self.column = COLUMNS[feature]

    def __call__(self, observation: Observation, mask: np.ndarray) -> int:
        return int(np.where(mask, observation["groups"][:, self.column], -np.inf).argmax())


class DensityPolicy(Largest):
    """The densest old neighbourhoods first, as `compat.orders.Density` does for items."""

    def __init__(self) -> None:
        super().__init__("density")


class Farthest(Largest):
    """k-centre (Gonzalez, 1985): the group farthest from what is migrated."""

    def __init__(self) -> None:
        super().__init__("distance")


class Variance(Largest):
    """Where the world model is least sure."""

    def __init__(self) -> None:
        super().__init__("variance")


class EntropyPolicy(Largest):
    """Where the old classifier is least sure, or the first open group if none was handed in."""

    def __init__(self) -> None:
        super().__init__("entropy")


def heuristics(seed: int) -> dict[str, Policy]:
    """All of them by name, anew; the seed is of `RandomPolicy`."""
    return {
        "random": RandomPolicy(seed),
        "density": DensityPolicy(),
        "farthest": Farthest(),
        "variance": Variance(),
        "entropy": EntropyPolicy(),
    }
