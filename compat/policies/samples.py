"""What policies learn from: an expert's demonstrations, and what one's own actions led to."""

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
    """N states that an expert met, M groups each.

    Attributes:
        groups: (N, M, F), what was observed.
        overall: (N, A), likewise.
        mask: (N, M) bool, the open groups.
        action: (N,), the expert's.
        gains: (N, M), the gain of mAP for each item by the expert's action, and by others that were tried at this
            state; NaN of what was not.
        proxies: (N, M), a figure free of labels of the same trials, likewise.
        episode: (N,), of which episode each state is.
    """

    groups: Tensor
    overall: Tensor
    mask: Tensor
    action: Tensor
    gains: Tensor
    proxies: Tensor
    episode: Tensor


class Transitions(NamedTuple):
    """N steps of one's own, without a reward.

    Attributes:
        groups: (N, M, F), what was observed.
        overall: (N, A), likewise.
        action: (N,), what was done.
        next_groups: (N, M, F), what was observed then.
        next_overall: (N, A), likewise.
        episode: (N,), of which episode each step is.
    """

    groups: Tensor
    overall: Tensor
    action: Tensor
    next_groups: Tensor
    next_overall: Tensor
    episode: Tensor


Samples = TypeVar("Samples", Demonstrations, Transitions)


def joined(parts: Sequence[Samples]) -> Samples:
    """One after the other; their episodes get numbers of their own.

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
    """Only those of some episodes."""
    kept = torch.isin(samples.episode, torch.as_tensor(list(episodes)))
    return type(samples)(*(column[kept] for column in samples))


def some_episodes(demonstrations: Demonstrations, share: float, seed: int) -> Demonstrations:
    """A share of the episodes, at least one, drawn by a seed: of two shares by one seed the larger has the smaller.

    Raises:
        InputError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(f"share: {share:g}, expected one in (0, 1]")
    episodes = int(demonstrations.episode.max()) + 1
    drawn = torch.randperm(episodes, generator=torch.Generator().manual_seed(seed))
    return of_episodes(demonstrations, drawn[: max(1, round(share * episodes))].tolist())


def save(samples: Demonstrations | Transitions, path: Path) -> None:
    """Write them as .safetensors, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, lambda file: save_file({k: v.contiguous() for k, v in samples._asdict().items()}, str(file)))


def load(kind: type[Samples], path: Path) -> Samples:
    """Read what `save` wrote."""
    return kind(**load_file(str(path)))
