"""SLERP: the query for old items lies on the geodesic between the old query and the aligned new one."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from compat.backfill import backfill_curve
from compat.batch import Pair
from compat.embeddings import Embeddings
from compat.errors import InputError
from compat.methods.procrustes import procrustes
from compat.methods.upgrade import Fit, Upgrade
from compat.models import Embedder
from compat.needs import Given

ALPHAS = tuple(step / 10 for step in range(11))


def slerp(start: Tensor, end: Tensor, alpha: Tensor | float) -> Tensor:
    """Interpolate from u (a = 0) to v (a = 1): [sin((1 - a) t) u + sin(a t) v] / sin t, t their angle (Shoemake).

    v may be the first D coordinates of a longer unit vector; u then has zeros beyond them, and so has the result.

    Args:
        start: u, (B, D), unit vectors.
        end: v, (B, D), unit vectors or shorter ones.
        alpha: a.
    """
    angle = (start * end).sum(1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    return (((1 - alpha) * angle).sin() * start + (alpha * angle).sin() * end) / angle.sin()


class Slerp(Upgrade):
    """psi(o, z) = slerp(n(o), n(z) R, alpha) with R = `procrustes` of unit vectors (SLERP).

    "Spherical Interpolation for Backward-Compatible Multimodal Representations" (Ricci et al., arXiv 2609.39836),
    miccunifi/SLERP_backward_compatibility. The old model embeds each query too: alpha = 0 is distance rank merge, alpha
    = 1 Procrustes.

    The authors' code takes the alpha of 0, 0.1, ..., 1 with the largest Recall@1 between images and texts of the
    support set that R was fitted on, in each direction. With one modality each image would find itself; here alpha has
    the largest mAP among held-out training images, with R of the others, and R is then refitted on all. If D_new >
    D_old they pad with zeros: old items rank alike, and their cosines shrink by the length of the query's first D_old
    dimensions.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        alpha: 0 to 1; none: chosen, which needs labels.
        held_out: share of the training pairs on which alpha is chosen.

    Raises:
        InputError: a number out of range; no two held-out images of a class.
    """

    encoder_passes = 2
    needs: ClassVar[tuple[str, ...]] = ("training embeddings", "training labels")
    rotation: Tensor
    alpha: Tensor

    def __init__(self, old: Embedder, new: Embedder, alpha: float | None = None, held_out: float = 0.2) -> None:
        super().__init__(old, new)
        if alpha is not None and not 0 <= alpha <= 1:
            raise InputError(f"alpha: {alpha}, expected 0 to 1")
        if not 0 < held_out < 1:
            raise InputError(f"held_out: {held_out}, expected more than 0 and less than 1")
        self.choose, self.held_out = alpha is None, held_out
        self.register_buffer("rotation", torch.eye(new.project.out_features, old.project.out_features))
        self.register_buffer("alpha", torch.tensor(0.5 if alpha is None else alpha))

    def learn(self, given: Given, fit: Fit) -> None:
        pairs = given["training embeddings"]
        self.solve(pairs._replace(label=given["training labels"]) if self.choose else pairs)

    def solve(self, pairs: Pair) -> None:
        """Choose alpha unless given, and fit the rotation to all training pairs."""
        if self.choose:
            order = torch.randperm(len(pairs.old), generator=torch.Generator().manual_seed(0)).to(pairs.old.device)
            count = round(self.held_out * len(order))
            self.align(Pair(*(rows[order[count:]] for rows in pairs)))
            found = self.found(Pair(*(rows[order[:count]] for rows in pairs)))
            self.alpha = torch.tensor(ALPHAS[found.index(max(found))])
        self.align(pairs)

    def align(self, pairs: Pair) -> None:
        """Fit the rotation."""
        self.rotation = procrustes(F.normalize(pairs.new, dim=1), F.normalize(pairs.old, dim=1)).float()

    def found(self, pairs: Pair) -> list[float]:
        """Measure the mAP of the images among each other at each alpha.

        Raises:
            InputError: no two images of a class.
        """
        if len(pairs.label.unique()) == len(pairs.label):
            raise InputError(f"held_out: {self.held_out}, expected two images of a class among the {len(pairs.label)}")
        old, rows = pairs.old, torch.arange(len(pairs.old))
        found = []
        for alpha in ALPHAS:
            self.alpha = torch.tensor(alpha)
            query = self.query_for_old(old, pairs.new)
            shown = Embeddings(query, pairs.new, old, pairs.new, pairs.label, pairs.label, rows, rows)
            found.append(float(backfill_curve(shown, rows, [0.0]).mean_ap[0]))
        return found

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return slerp(F.normalize(old, dim=1), F.normalize(query_new, dim=1) @ self.rotation, self.alpha)
