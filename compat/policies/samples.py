"""Training samples of policies: an expert's demonstrations, and what own actions led to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from compat.errors import InputError
from compat.files import replace

NONE = -1  # no action


class Demonstrations(NamedTuple):
    """N states met by an expert, M groups each, and what K actions led to there.

    Attributes:
        groups: (N, M, F), observations.
        overall: (N, A), likewise.
        mask: (N, M) bool, the open groups.
        tried: (N, K), the expert's action, then others; `NONE` where fewer groups were open.
        next_groups: (N, K, M, F), the observations after these actions; 0 for none.
        next_overall: (N, K, A), likewise.
        episode: (N,), number of each state's episode.
    """

    groups: Tensor
    overall: Tensor
    mask: Tensor
    tried: Tensor
    next_groups: Tensor
    next_overall: Tensor
    episode: Tensor

    @property
    def action(self) -> Tensor:
        """Return the expert's actions, (N,)."""
        return self.tried[:, 0]


class Transitions(NamedTuple):
    """N own steps, without rewards.

    Attributes:
        groups: (N, M, F), observations.
        overall: (N, A), likewise.
        action: (N,), the actions.
        next_groups: (N, M, F), the next observations.
        next_overall: (N, A), likewise.
    """

    groups: Tensor
    overall: Tensor
    action: Tensor
    next_groups: Tensor
    next_overall: Tensor


def joined(parts: Sequence[Demonstrations]) -> Demonstrations:
    """Join demonstrations one after the other, with new numbers for their episodes.

    Raises:
        InputError: none.
    """
    if not parts:
        raise InputError("samples: none, expected those of an environment or more")
    numbered, first = [], 0
    for part in parts:
        own = part.episode.unique(return_inverse=True)[1]
        numbered.append(part._replace(episode=own + first))
        first += int(own.max()) + 1
    return Demonstrations(*(torch.cat(columns) for columns in zip(*numbered, strict=True)))


def of_episodes(demonstrations: Demonstrations, episodes: Sequence[int]) -> Demonstrations:
    """Select the states of some episodes."""
    kept = torch.isin(demonstrations.episode, torch.as_tensor(list(episodes)))
    return Demonstrations(*(column[kept] for column in demonstrations))


def some_episodes(demonstrations: Demonstrations, share: float, seed: int) -> Demonstrations:
    """Draw a share of the episodes, at least one, by a seed; a larger share by the same seed includes a smaller one.

    Raises:
        InputError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(f"share: {share:g}, expected one in (0, 1]")
    episodes = int(demonstrations.episode.max()) + 1
    drawn = torch.randperm(episodes, generator=torch.Generator().manual_seed(seed))
    return of_episodes(demonstrations, drawn[: max(1, round(share * episodes))].tolist())


def save(demonstrations: Demonstrations, path: Path) -> None:
    """Write demonstrations as .safetensors, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: column.contiguous() for name, column in demonstrations._asdict().items()}
    replace(path, lambda file: save_file(tensors, str(file)))


def load(path: Path) -> Demonstrations:
    """Read a file written by `save`."""
    return Demonstrations(**load_file(str(path)))
