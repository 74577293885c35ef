"""Training samples of policies: an expert's demonstrations, and the effects of own actions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from compat.errors import InputError
from compat.files import replace


class Demonstrations(NamedTuple):
    """N states met by an expert, M groups each.

    Attributes:
        groups: (N, M, F), observations.
        overall: (N, A), likewise.
        mask: (N, M) bool, the open groups.
        action: (N,), the expert's.
        gains: (N, M), the gain of mAP per item by the expert's action, and by the other actions tried at this state;
            NaN for untried ones.
        proxies: (N, M), a figure without labels of the same trials, likewise.
        episode: (N,), number of each state's episode.
    """

    groups: Tensor
    overall: Tensor
    mask: Tensor
    action: Tensor
    gains: Tensor
    proxies: Tensor
    episode: Tensor


class Transitions(NamedTuple):
    """N own steps, without rewards.

    Attributes:
        groups: (N, M, F), observations.
        overall: (N, A), likewise.
        action: (N,), the actions.
        next_groups: (N, M, F), the next observations.
        next_overall: (N, A), likewise.
        episode: (N,), number of each step's episode.
    """

    groups: Tensor
    overall: Tensor
    action: Tensor
    next_groups: Tensor
    next_overall: Tensor
    episode: Tensor


Samples = TypeVar("Samples", Demonstrations, Transitions)


def joined(parts: Sequence[Samples]) -> Samples:
    """Join samples one after the other, with new numbers for their episodes.

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
    return type(parts[0])(*(torch.cat(columns) for columns in zip(*numbered, strict=True)))


def of_episodes(samples: Samples, episodes: Sequence[int]) -> Samples:
    """Select the samples of some episodes."""
    kept = torch.isin(samples.episode, torch.as_tensor(list(episodes)))
    return type(samples)(*(column[kept] for column in samples))


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


def save(samples: Demonstrations | Transitions, path: Path) -> None:
    """Write samples as .safetensors, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, lambda file: save_file({k: v.contiguous() for k, v in samples._asdict().items()}, str(file)))


def load(kind: type[Samples], path: Path) -> Samples:
    """Read a file written by `save`."""
    return kind(**load_file(str(path)))
