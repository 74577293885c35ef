"""Permutation-equivariant networks, from a set of groups to a score for each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compat.errors import InputError

FARTHEST = 5.0  # standard deviations of the training environments at which an observation is cut


def deviation(rows: Tensor) -> Tensor:
    """Return the standard deviation of each column of rows (N, D): (D,), 1 where all are equal."""
    found = rows.std(0, correction=0)
    return torch.where(found > 1e-6, found, 1.0)


class SetNetwork(nn.Module):
    """Encodings of groups with output heads; a child class defines the encoder.

    Before training all scores are 0, so the policy is uniform over the open groups.

    Args:
        features: F, of each group.
        overall: A, of the whole gallery.
        width: of an encoding.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, overall: int, width: int = 32) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features + overall))
        self.register_buffer("deviation", torch.ones(features + overall))
        self.score, self.worth = nn.Linear(width, 1), nn.Linear(width, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)
        self.next_groups = nn.Sequential(nn.Linear(2 * width + 1, width), nn.ReLU(), nn.Linear(width, features))
        self.next_overall = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, overall))

    def encode(self, x: Tensor) -> Tensor:
        """Encode (B, M, F + A) standardised features as (B, M, width)."""
        raise NotImplementedError

    def standardise(self, groups: Tensor, overall: Tensor) -> None:
        """Set means and deviations from observations of the training environments, (N, M, F) and (N, A)."""
        for part, columns in ((groups.flatten(0, 1), slice(groups.shape[2])), (overall, slice(groups.shape[2], None))):
            self.mean[columns], self.deviation[columns] = part.mean(0), deviation(part)

    def forward(self, groups: Tensor, overall: Tensor) -> Tensor:
        """Encode groups (B, M, F) in a gallery (B, A): (B, M, width)."""
        if groups.ndim != 3 or groups.shape[2] + overall.shape[1] != len(self.mean):
            found = f"{tuple(groups.shape)} and {tuple(overall.shape)}"
            raise InputError(f"observation: shapes {found}, expected {len(self.mean)} features together")
        x = torch.cat([groups, overall[:, None].expand(-1, groups.shape[1], -1)], dim=2)
        return self.encode(((x - self.mean) / self.deviation).clamp(-FARTHEST, FARTHEST))

    def scores(self, encodings: Tensor) -> Tensor:
        """Return a logit for each group, (B, M)."""
        return self.score(encodings).squeeze(2)

    def value(self, encodings: Tensor) -> Tensor:
        """Return the expected return, (B, 1)."""
        return self.worth(encodings.mean(1))

    def change(self, encodings: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the observation's change by an action (B,), in the trainer's units: (B, M, F) and (B, A)."""
        rows = torch.arange(len(action), device=action.device)
        chosen = encodings[rows, action]
        mark = torch.zeros_like(encodings[..., :1])
        mark[rows, action] = 1
        around = torch.cat([encodings, chosen[:, None].expand_as(encodings), mark], dim=2)
        return self.next_groups(around), self.next_overall(torch.cat([encodings.mean(1), chosen], dim=1))


class DeepSets(SetNetwork):
    """Encode each group with the mean and the maximum of all groups (arXiv 1703.06114), in several layers.

    Args:
        features: see `SetNetwork`.
        overall: see `SetNetwork`.
        width: see `SetNetwork`.
        layers: number of layers.
    """

    def __init__(self, features: int, overall: int, width: int = 32, layers: int = 2) -> None:
        super().__init__(features, overall, width)
        self.first = nn.Sequential(nn.Linear(features + overall, width), nn.ReLU())
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(3 * width, width), nn.ReLU()) for _ in range(layers))

    def encode(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for layer in self.layers:
            pooled = torch.cat([h.mean(1, keepdim=True), h.amax(1, keepdim=True)], dim=2)
            h = h + layer(torch.cat([h, pooled.expand(-1, h.shape[1], -1)], dim=2))
        return h


class SetTransformer(SetNetwork):
    """Self-attention between groups, without positions (arXiv 1810.00825 without its inducing points).

    Args:
        features: see `SetNetwork`.
        overall: see `SetNetwork`.
        width: see `SetNetwork`.
        layers: number of layers.
        heads: of each layer.
    """

    def __init__(self, features: int, overall: int, width: int = 32, layers: int = 2, heads: int = 4) -> None:
        super().__init__(features, overall, width)
        self.first = nn.Linear(features + overall, width)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def encode(self, x: Tensor) -> Tensor:
        return self.layers(self.first(x))


FAMILIES: dict[str, type[SetNetwork]] = {"deep_sets": DeepSets, "transformer": SetTransformer}


def build(family: str, features: int, overall: int, seed: int) -> SetNetwork:
    """Build a network of a family with random weights from a seed; global random numbers stay untouched.

    Raises:
        InputError: no such family.
    """
    if family not in FAMILIES:
        raise InputError(f"family: {family!r}, expected one of {', '.join(FAMILIES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FAMILIES[family](features, overall)
