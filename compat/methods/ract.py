"""Hot-refresh's regression-alleviating compatible training: contrast with the old and the new space at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from compat.errors import at_least_one, not_negative, positive
from compat.losses import cosines
from compat.methods.joint import Joint
from compat.models import Embedder


def regression_alleviating_loss(
    new: Tensor, old: Tensor, labels: Tensor, temperature: float = 0.1, negatives: int = 10
) -> Tensor:
    """Cross entropy of <n_i, o_i> against the hardest <n_i, o_j> and <n_i, n_j> with y_j != y_i.

    Zhang et al., arXiv 2201.09724; OpenCompatible's `contra_ract`. Theirs gathers the new-to-new negatives without
    gradient; here both sides have one. A batch of one class has no negatives and a loss of 0.

    Args:
        new: (B, D).
        old: (B, D), of the same images.
        labels: (B,).
        temperature: divides all similarities.
        negatives: how many of each kind to keep; fewer if the batch has fewer.

    Returns:
        A scalar.
    """
    to_old, to_new = cosines(new, old), cosines(new, new)
    same = labels[:, None] == labels
    kept = min(negatives, len(labels))
    groups = [similarity.masked_fill(same, -torch.inf).topk(kept, 1).values for similarity in (to_old, to_new)]
    logits = torch.cat([to_old.diagonal()[:, None], *groups], 1) / temperature
    return F.cross_entropy(logits, torch.zeros_like(labels))


class RACT(Joint):
    """Hot-refresh (arXiv 2201.09724): classification + weight * `regression_alleviating_loss`.

    OpenCompatible's temperature is 0.01, for 1,536 images per batch, 30 epochs and a pretrained network. Each anchor
    has one positive, its own image, so at 0.01 the new model imitates the old one image by image; the default here is
    ten times that.

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        weight: of the contrast; 1 in OpenCompatible.
        temperature: of the contrast; 0.01 in OpenCompatible.
        negatives: hardest negatives of each kind in the batch.
    """

    def __init__(
        self, old: Embedder, new: Embedder, weight: float = 1.0, temperature: float = 0.1, negatives: int = 10
    ) -> None:
        super().__init__(old, new)
        positive(temperature=temperature)
        not_negative(weight=weight)
        at_least_one(negatives=negatives)
        self.weight, self.temperature, self.negatives = weight, temperature, negatives

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        contrast = regression_alleviating_loss(self.compatible(new), old, labels, self.temperature, self.negatives)
        return {
            "classification": self.cross_entropy(self.classifier(new), labels),
            "contrast": self.weight * contrast,
        }
