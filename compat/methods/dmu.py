"""DMU: the new model inherits discriminative old features, and a module adapts the old gallery to it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from compat.errors import at_least_one, not_negative, positive
from compat.methods.joint import Joint, Teacher
from compat.methods.single import SingleModel
from compat.methods.upgrade import resized
from compat.models import Embedder, head


def discriminativeness(old: Tensor, means: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Compute the probability of the true class by nearest class means: softmax(cos(o, mu) / t)[y], (B,).

    Args:
        old: (B, D).
        means: (C, D).
        labels: (B,).
        temperature: t.
    """
    cosines = F.normalize(old, dim=1) @ F.normalize(means, dim=1).T
    return (cosines / temperature).softmax(1).gather(1, labels[:, None]).squeeze(1)


class DMU(Joint):
    """Darwinian model upgrades (AAAI 2023, arXiv 2210.06954), reconstructed from the abstract.

    The abstract: the new model inherits selectively, "measured by old feature discriminativeness", and a light module
    takes the old gallery, "especially those of poor quality", forward to the new space; both are trained with the new
    model. The equations were not available, and the public code (TencentARC/OpenCompatible) lacks them, so the form is
    our choice.

    Loss: CE(W_n z, y) + inheritance * mean w_i CE(n(z) . n(mu) / t, y) + adaptation * [|n(A(o)) - n(z)|^2 + CE(W_n
    A(o), y)]. w_i = `discriminativeness`, mu the class means of old embeddings. The squared distance has no gradient to
    z. A(o) = o + a network of one hidden layer, zero at first. Queries are z, old items A(o).

    Args:
        old: the old model, frozen.
        new: the architecture of the new model.
        inheritance: weight of the selective backward compatibility.
        adaptation: weight of the forward adaptation.
        temperature: t.
        hidden: width of A's network.

    Raises:
        InputError: a number out of range.
    """

    transforms_gallery = True
    means: Tensor

    def __init__(
        self,
        old: Embedder,
        new: Embedder,
        inheritance: float = 1.0,
        adaptation: float = 1.0,
        temperature: float = 0.1,
        hidden: int = 512,
    ) -> None:
        super().__init__(old, new)
        not_negative(inheritance=inheritance, adaptation=adaptation)
        positive(temperature=temperature)
        at_least_one(hidden=hidden)
        self.weights, self.temperature = (inheritance, adaptation), temperature
        self.network = head(old.project.out_features, self.new.project.out_features, 2, hidden)
        for parameter in self.network[-1].parameters():
            nn.init.zeros_(parameter)

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        super().prepare(recipe, teacher)
        self.register_buffer("means", teacher.means(normalize=True), persistent=False)

    def adapted(self, old: Tensor) -> Tensor:
        """Compute A(o): (B, D_old) -> (B, D_new)."""
        return resized(old, self.new.project.out_features) + self.network(old)

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return query_new

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return self.adapted(old), new

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        inheritance, adaptation = self.weights
        cosines = F.normalize(self.compatible(new), dim=1) @ F.normalize(self.means, dim=1).T
        sure = discriminativeness(old, self.means, labels, self.temperature)
        surprise = F.cross_entropy(cosines / self.temperature, labels, reduction="none")
        adapted = self.adapted(old)
        apart = (F.normalize(adapted, dim=1) - F.normalize(new.detach(), dim=1)).square().sum(1)
        return {
            "classification": self.cross_entropy(self.classifier(new), labels),
            "inheritance": inheritance * (sure * surprise).mean(),
            "adaptation": adaptation * (apart.mean() + self.cross_entropy(self.classifier(adapted), labels)),
        }
