"""A small gallery as an environment."""

from typing import Any

import gymnasium
import numpy as np
import torch

from compat import Embeddings
from compat.policies import BackfillEnv
from tests.helpers.own_pairs import gallery

OPTIONS: dict[str, Any] = {"cells": 4, "levels": 2, "first": 0.05}


def environment(e: Embeddings | None = None, **options) -> BackfillEnv:
    return BackfillEnv(e or gallery(shared=True), **{**OPTIONS, **options})


def any_open(seed: int = 0):
    """A policy of its own, so that those of the project are not tested by themselves."""
    random = np.random.default_rng(seed)
    return lambda observation, mask: int(random.choice(np.flatnonzero(mask)))


def changed(e: Embeddings, **matrices) -> Embeddings:
    """With some of its arrays in place of others."""
    return Embeddings(**{**vars(e), **matrices})


def tied(seed: int = 0) -> Embeddings:
    """Small integers, so that many distances are equal, with groups that hide several items and queries of no class."""
    random = np.random.default_rng(seed)
    labels = torch.arange(120) % 6
    centres = random.integers(-2, 3, (6, 4))
    new = centres[labels] + random.integers(-1, 2, (120, 4)) + 0.5
    old = centres[labels] + random.integers(-3, 4, (120, 4)) + 0.5
    groups = random.integers(0, 9, 120)
    query = labels[:30].clone()
    query[:3] = 77
    return Embeddings(old[:30], new[:30], old, new, query, labels, groups[:30], groups)


class Anyhow(gymnasium.Wrapper):
    """Takes any action: the checker of Stable-Baselines3 draws some without a look at which are open."""

    def step(self, action):
        mask = self.get_wrapper_attr("action_masks")()
        return self.env.step(action if mask[action] else int(mask.argmax()))
