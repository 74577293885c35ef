"""The base class of methods that train the new model together with its compatibility."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from compat.losses import batch_hard_triplet_loss
from compat.methods.single import SingleModel
from compat.methods.trained import Trained
from compat.methods.upgrade import Fit, needed, resized
from compat.models import Classifier, Embedder, load_embedder
from compat.needs import Given
from compat.optim import warmup_cosine, with_rate

if TYPE_CHECKING:
    from compat.data.images import Sample


class Teacher(NamedTuple):
    """Inputs of a training beside its images: the two frozen models' embeddings of them.

    Attributes:
        old: (N, D_old), extracted once from images without augmentation.
        new: (N, D_new) of the plain new model, likewise; None if the method does not need it.
        labels: (N,) 0 to C - 1.
        known: (C,) index of each class in the old classifier, -1 if the old model has not seen it.
    """

    old: Tensor
    new: Tensor | None
    labels: Tensor
    known: Tensor

    def means(self, normalize: bool = False) -> Tensor:
        """Average the old embeddings of each class, or with `normalize` their unit vectors: (C, D), not normalised."""
        rows = F.normalize(self.old, dim=1) if normalize else self.old
        classes = len(self.known)
        sums = rows.new_zeros(classes, rows.shape[1]).index_add_(0, self.labels, rows)
        return sums / self.labels.bincount(minlength=classes).clamp_min(1)[:, None]


class Recipe(NamedTuple):
    """The training recipe of the plain new model; see `SingleModel`."""

    label_smoothing: float
    triplet_margin: float | None
    warmup: float
    backbone_rate: float
    optimizer: OptimizerCallable


class Joint(Trained):
    """A new model trained so that its queries find items in the old space; nothing is learned afterwards.

    Network, first weights, optimizer, schedule and budget are those of the plain new model. A method adds losses, and
    layers if it says so. `terms` returns the losses by name; their sum is minimised. Old embeddings are of images
    without augmentation; some authors' codes embed the augmented image, which costs a forward pass of the old model per
    step. Losses that compare directions, as most do, suit cosine retrieval.

    The old model also embeds images of classes it has not seen, so embeddings, class means and radii exist for all
    classes, in the open-class setting too. Only its classifier and its simplex lack them: see `BCT` and `DSimplex`.

    If the new space has more dimensions than the old one, its first D_old are the compatible ones; if it has fewer, it
    is padded with zeros (openBCT).

    Args:
        old: the old model, frozen.
        new: the architecture of the new model; the method trains its own copy.

    Attributes:
        recipe: the plain new model's recipe; set by `prepare`.
    """

    encoder_passes = 1
    needs: ClassVar[tuple[str, ...]] = (
        "training embeddings", "training labels", "old classes", "new model training"
    )  # fmt: skip
    old_space: Tensor

    def __init__(self, old: Embedder, new: Embedder) -> None:
        super().__init__(old, copy.deepcopy(new))
        self.new.requires_grad_(True)

    def serve(self, new: Tensor) -> Tensor:
        """Map the new model's output (B, D) to the embedding that is compared with backfilled items."""
        return new

    def query(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return super().query(old, self.serve(new))

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return self.compatible(query_new)

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return old, self.serve(new)

    def compatible(self, new: Tensor) -> Tensor:
        """Map new embeddings (B, D_new) to the old space, (B, D_old)."""
        return resized(new, self.old.project.out_features)

    def learn(self, given: Given, fit: Fit) -> None:
        pairs = given["training embeddings"]
        new = given["plain new model"] if "plain new model" in given.needs else None
        teacher = Teacher(pairs.old, new, given["training labels"], given["old classes"])
        self.prepare(given["new model training"], teacher)
        fit(self)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Load the learned state, the new model and its classifier included."""
        own = {name.removeprefix("new."): value for name, value in state.items() if name.startswith("new.")}
        load_embedder(self.new, own, type(self).__name__)
        super().restore(state)

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        """Take over the plain new model's recipe, and what the losses need of the teacher; called before a training."""
        self.recipe = Recipe(
            recipe.label_smoothing, recipe.triplet_margin, recipe.warmup, recipe.backbone_rate, recipe.optimizer
        )
        self.new.classify(len(teacher.known))
        self.train()
        self.register_buffer("old_space", teacher.old, persistent=False)

    @property
    def classifier(self) -> Classifier:
        """The new model's classifier, in training."""
        assert self.new.classifier is not None
        return self.new.classifier

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the cross entropy with the recipe's label smoothing."""
        return F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Compute the losses of a batch by name.

        Args:
            new: (B, D_new) float32, of augmented images.
            old: (B, D_old), of the same images.
            labels: (B,).
            rows: (B,) row numbers of the images in the teacher.
        """
        raise NotImplementedError

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        new, compared = self.new.for_losses(batch.image)
        with torch.autocast(new.device.type, enabled=False):
            terms = self.terms(new.float(), self.old_space[batch.group], batch.label, batch.group)
            if self.recipe.triplet_margin is not None:
                terms["triplet"] = batch_hard_triplet_loss(compared, batch.label, self.recipe.triplet_margin)
        loss = torch.stack(list(terms.values())).sum()
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, sync_dist=True)
        figures = {f"train/{name}": value for name, value in terms.items()}
        self.log_dict(figures, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        steps = int(self.trainer.estimated_stepping_batches)
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = with_rate(self.recipe.optimizer, learning, self.new.backbone, self.recipe.backbone_rate)
        return warmup_cosine(optimizer, steps, self.recipe.warmup)

    def heads(self) -> dict[str, Tensor]:
        return {key: value for key, value in self.state_dict().items() if not key.startswith("old.")}

    def train(self, mode: bool = True) -> Joint:
        """Set all but the old model to training or evaluation mode."""
        super().train(mode)
        self.new.train(mode)
        return self

    def old_classifier(self) -> Classifier:
        """Return the old model's classifier.

        Raises:
            InputError: the old model's weights came without a classifier.
        """
        return needed(self.old, "old", type(self).__name__)
