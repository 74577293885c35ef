"""Kernel ridge regression between the two spaces, in either direction, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compat.batch import Pair
from compat.errors import InputError, at_least_one, positive
from compat.methods.upgrade import Fit, Upgrade
from compat.models import Embedder
from compat.needs import Given

ALPHAS = np.logspace(-6, 2, 9)
CENTRES = 512


def median_gamma(rows: np.ndarray, most: int = 1000) -> float:
    """Compute 1 / (2 s^2), s the median distance between up to `most` evenly spaced rows (the median heuristic).

    Args:
        rows: (N, D).
        most: rows to compare.
    """
    some = torch.from_numpy(rows[:: -(-len(rows) // most)])
    middle = torch.pdist(some).median().item()
    return 1 / (2 * middle**2) if middle > 0 else 1.0


class KernelMap(nn.Module):
    """x -> sum_j exp(-g |n(x) - c_j|^2) w_j + b: ridge regression on Nystroem features of an RBF kernel.

    The features (Williams and Seeger, 2001) are of unit vectors, fitted by scikit-learn. The penalty is the one of
    1e-6, 1e-5, ..., 100 with the smallest squared leave-one-out error (`RidgeCV`).

    Args:
        inputs: D_in.
        outputs: D_out.
        centres: number of centres c_j, random training rows; none: 512, or all rows if fewer (surplus centres have
            weight zero).
        gamma: g; none: by the median heuristic.

    Raises:
        InputError: no centre, or a gamma that is not positive; in `check`: more centres than rows.
    """

    centres: Tensor
    weight: Tensor
    bias: Tensor
    gamma: Tensor

    def __init__(self, inputs: int, outputs: int, centres: int | None, gamma: float | None) -> None:
        super().__init__()
        at_least_one(centres=centres)
        positive(gamma=gamma)
        self.given, self.asked = gamma, centres
        centres = CENTRES if centres is None else centres
        for name, shape in {"centres": (centres, inputs), "weight": (centres, outputs), "bias": (outputs,)}.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("gamma", torch.ones((), dtype=torch.float64))

    def check(self, rows: int) -> None:
        """Refuse fewer rows than centres."""
        if self.asked is not None and self.asked > rows:
            raise InputError(f"centres: {self.asked}, expected at most {rows}, as there are so many training images")

    def solve(self, inputs: Tensor, outputs: Tensor) -> None:
        """Fit the map from rows (N, D_in) to rows (N, D_out)."""
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import RidgeCV

        self.check(len(inputs))
        x, y = (F.normalize(rows.double(), dim=1).cpu().numpy() for rows in (inputs, outputs))
        gamma, count = self.given or median_gamma(x), min(len(self.centres), len(x))
        features = Nystroem(gamma=gamma, n_components=count, random_state=0).fit(x)
        ridge = RidgeCV(ALPHAS).fit(features.transform(x), y)
        self.gamma.fill_(gamma)
        self.centres[:count] = torch.from_numpy(features.components_)
        self.weight[:count] = torch.from_numpy(features.normalization_.T @ ridge.coef_.T)
        self.bias[:] = torch.from_numpy(ridge.intercept_)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (B, D_in) to (B, D_out)."""
        near = torch.cdist(F.normalize(rows.double(), dim=1), self.centres).square()
        return ((-self.gamma * near).exp() @ self.weight + self.bias).to(rows.dtype)


class KernelQuery(Upgrade):
    """psi(z) by kernel ridge regression from new to old embeddings, see `KernelMap`.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        centres: of the Nystroem features; none: 512, or all training images if fewer.
        gamma: of the kernel; none: by the median heuristic.
    """

    encoder_passes = 1
    needs: ClassVar[tuple[str, ...]] = ("training embeddings",)

    def __init__(self, old: Embedder, new: Embedder, centres: int | None = None, gamma: float | None = None) -> None:
        super().__init__(old, new)
        self.map = KernelMap(new.project.out_features, old.project.out_features, centres, gamma)

    def check(self, images: int, known: Sequence[int]) -> None:
        self.map.check(images)

    def learn(self, given: Given, fit: Fit) -> None:
        self.solve(given["training embeddings"])

    def solve(self, pairs: Pair) -> None:
        """Fit the map to all training pairs; labels are ignored."""
        self.map.solve(pairs.new, pairs.old)

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return self.map(query_new)


class KernelGallery(Upgrade):
    """The old gallery mapped forward by kernel ridge regression from old to new embeddings, see `KernelMap`.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        centres: of the Nystroem features; none: 512, or all training images if fewer.
        gamma: of the kernel; none: by the median heuristic.
    """

    encoder_passes = 1
    transforms_gallery = True
    needs: ClassVar[tuple[str, ...]] = ("training embeddings",)

    def __init__(self, old: Embedder, new: Embedder, centres: int | None = None, gamma: float | None = None) -> None:
        super().__init__(old, new)
        self.map = KernelMap(old.project.out_features, new.project.out_features, centres, gamma)

    def check(self, images: int, known: Sequence[int]) -> None:
        self.map.check(images)

    def learn(self, given: Given, fit: Fit) -> None:
        self.solve(given["training embeddings"])

    def solve(self, pairs: Pair) -> None:
        """Fit the map to all training pairs; labels are ignored."""
        self.map.solve(pairs.old, pairs.new)

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return query_new

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return self.map(old), new
