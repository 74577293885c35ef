"""Lambda-orthogonality: a nearly orthogonal map of the new space, met by a forward map of the old one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from compat.batch import Pair
from compat.errors import at_least_one, not_negative, positive
from compat.losses import contrastive_loss
from compat.methods.learned import Learned
from compat.models import Embedder, head


def orthogonality_penalty(weight: Tensor, bound: float, sharpness: float = 1.0) -> Tensor:
    """Compute sigmoid(a (e - lambda)) e, e = |W W^T - I| (Frobenius): near 0 within the bound, e beyond it.

    Args:
        weight: (D, D).
        bound: lambda.
        sharpness: a.
    """
    error = off_orthogonality(weight)
    return torch.sigmoid(sharpness * (error - bound)) * error


def off_orthogonality(weight: Tensor) -> Tensor:
    """Compute |W W^T - I| (Frobenius) of a square matrix, always in float32; sqrt(D) for the zero matrix."""
    with torch.autocast(weight.device.type, enabled=False):
        return torch.linalg.matrix_norm(weight @ weight.T - torch.eye(len(weight), device=weight.device))


class LambdaOrthogonality(Learned):
    """Lambda-orthogonality (Ricci et al., arXiv 2509.16664): B maps new, F old embeddings to a common space.

    Their code is public, miccunifi/lambda_orthogonality; this class has not been compared with it line by line.

    Loss: forward |F(o) - B(z)|^2 + backward |B(z) - o|^2 + contrast [SupCon(F(o), B(z)) + SupCon(F(o), o)] + the
    penalty on B. B(z) keeps the distances within z as far as B is orthogonal: strictly without `bound`, within lambda
    with it. Queries and new items are B(z), old items F(o). If the dimensions differ, z or o is padded with zeros;
    errors are those of unit vectors.

    |B B^T - I| of the zero matrix is sqrt(D), 11.3 at 128 dimensions; lambda = 12 therefore forbids hardly any
    contraction or loss of rank. Each epoch logs that error and the range of B's singular values.

    Args:
        old: the old model, frozen.
        new: the new model, frozen.
        bound: lambda; none: strictly orthogonal. 12 in the authors' code, for 128 dimensions.
        forward: weight w_1.
        backward: weight w_2.
        contrast: weight w_3.
        temperature: of SupCon.
        blocks: of F.
        hidden: width of F.
        warmup: share of the steps in which the learning rate rises, before its cosine.
        optimizer: from parameters to an optimizer; Adam at 1e-3 in the authors' code.
    """

    transforms_gallery = True

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        bound: float | None = 12.0,
        forward: float = 1.0,
        backward: float = 1.0,
        contrast: float = 1.0,
        temperature: float = 0.1,
        blocks: int = 3,
        hidden: int | None = None,
        warmup: float = 0.1,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=3.0517578125e-05),
    ) -> None:
        super().__init__(old, new, warmup, optimizer)
        positive(bound=bound, temperature=temperature)
        not_negative(forward=forward, backward=backward, contrast=contrast)
        at_least_one(hidden=hidden)
        old_dim, new_dim = old.project.out_features, new.project.out_features
        self.dim, self.bound = max(old_dim, new_dim), bound
        self.weights, self.temperature = (forward, backward, contrast), temperature
        turn = nn.Linear(self.dim, self.dim, bias=False)
        nn.init.eye_(turn.weight)
        self.turn = turn
        if bound is None:
            orthogonal(turn)
        self.onward = head(old_dim, self.dim, blocks, hidden)

    def turned(self, new: Tensor) -> Tensor:
        """Compute B(z): (B, D_new) -> (B, D)."""
        return self.turn(self.pad(new))

    def pad(self, rows: Tensor) -> Tensor:
        """Pad rows with zeros to the larger of the two dimensions."""
        return F.pad(rows, (0, self.dim - rows.shape[1]))

    def query(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        turned = self.turned(new)
        return turned, turned

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return query_new

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return self.onward(old), self.turned(new)

    def on_train_epoch_end(self) -> None:
        weight = self.turn.weight.detach()
        spread = torch.linalg.svdvals(weight)
        figures = {"off_orthogonality": off_orthogonality(weight), "least": spread[-1], "largest": spread[0]}
        self.log_dict({f"turn/{name}": value for name, value in figures.items()})

    def terms(self, batch: Pair) -> dict[str, Tensor]:
        onward, turned = (F.normalize(rows, dim=1) for rows in self.gallery(batch.old, batch.new))
        old = F.normalize(self.pad(batch.old), dim=1)
        forward, backward, contrast = self.weights
        contrasts = [contrastive_loss(onward, other, batch.label, self.temperature) for other in (turned, old)]
        terms = {
            "forward": forward * (onward - turned).square().sum(1).mean(),
            "backward": backward * (turned - old).square().sum(1).mean(),
            "contrast": contrast * (contrasts[0] + contrasts[1]),
        }
        if self.bound is not None:
            terms["orthogonality"] = orthogonality_penalty(self.turn.weight, self.bound)
        return terms
