"""Policies using one feature of each group."""

from __future__ import annotations

import numpy as np

from compat.errors import InputError
from compat.policies.features import FEATURES
from compat.policies.rollouts import Observation, Policy

COLUMNS = {name: column for column, name in enumerate(FEATURES)}


class RandomPolicy:
    """Choose any open group.

    Args:
        seed: of the choices.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)

    def __call__(self, observation: Observation, mask: np.ndarray) -> int:
        return int(self.random.choice(np.flatnonzero(mask)))


class Largest:
    """Choose the open group with the largest value of a feature; of several the first.

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
    """Choose the densest old neighbourhoods first, as `compat.orders.Density` does for items."""

    def __init__(self) -> None:
        super().__init__("density")


class Farthest(Largest):
    """k-centre (Gonzalez, 1985): choose the group farthest from the migrated items."""

    def __init__(self) -> None:
        super().__init__("distance")


class Variance(Largest):
    """Choose the group with the largest variance of the world model."""

    def __init__(self) -> None:
        super().__init__("variance")


class EntropyPolicy(Largest):
    """Choose the group with the largest entropy of the old classifier, or the first open group without one."""

    def __init__(self) -> None:
        super().__init__("entropy")


def heuristics(seed: int) -> dict[str, Policy]:
    """Create all heuristics by name; the seed is of `RandomPolicy`."""
    return {
        "random": RandomPolicy(seed),
        "density": DensityPolicy(),
        "farthest": Farthest(),
        "variance": Variance(),
        "entropy": EntropyPolicy(),
    }
