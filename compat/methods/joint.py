"""What the methods share that train the new model together with its compatibility."""

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
from compat.optim import warmup_cosine

if TYPE_CHECKING:
    from compat.data.images import Sample


class Teacher(NamedTuple):
    """What a training may learn from, beside its images: the two frozen models' embeddings of them.

    Attributes:
        old: (N, D_old), extracted once, from images without augmentation.
        new: (N, D_new), of the plain new model, likewise; None for a method that does not need it.
        labels: (N,) 0 to C - 1.
        known: (C,) the index of each class in the old classifier, -1 if the old model has not seen the class.
    """

    old: Tensor
    new: Tensor | None
    labels: Tensor
    known: Tensor

    def means(self, normalize: bool = False) -> Tensor:
        """The mean old embedding of each class, of unit vectors if asked for (the mean itself is not one), (C, D)."""
        rows = F.normalize(self.old, dim=1) if normalize else self.old
        classes = len(self.known)
        sums = rows.new_zeros(classes, rows.shape[1]).index_add_(0, self.labels, rows)
        return sums / self.labels.bincount(minlength=classes).clamp_min(1)[:, None]


class Recipe(NamedTuple):
    """How the plain new model is trained; see `SingleModel`."""

    label_smoothing: float
    triplet_margin: float | None
    warmup: float
    optimizer: OptimizerCallable


class Joint(Trained):
    """A new model trained so that its queries find items in the old space: nothing is learned afterwards.

    The network, optimizer, schedule and budget are those of the plain new model, and so are the backbone's first
    weights: a method adds its losses, and layers where it says so. `terms` returns the losses by name; the loss is
    their sum. The old model's embeddings are given, of images without augmentation (some of the authors' codes embed
    the augmented image instead, which costs a forward pass of the old model in every step).

    Losses that compare directions, as most of them do, go with cosine retrieval.

    The old model embeds images of classes that it has not seen too, so what a loss takes from its space (embeddings,
    class means, radii) is there for all classes, in the open-class setting as well, where it has seen none of them.
    Only its classifier and its simplex are not: `BCT` and `DSimplex` say what they do then.

    Where the new space has more dimensions than the old one its first D_old are the compatible ones, where it has
    fewer it is padded with zeros (openBCT).

    Args:
        old: the old model, frozen.
        new: the architecture of the new model; the method trains a copy of its own.

    Attributes:
        recipe: the plain new model's; from `prepare` on.
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
        """The new model's output (B, D) -> the embedding that is compared with backfilled items."""
        return new

    def query(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return super().query(old, self.serve(new))

    def query_for_old(self, old: Tensor, query_new: Tensor) -> Tensor:
        return self.compatible(query_new)

    def gallery(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        return old, self.serve(new)

    def compatible(self, new: Tensor) -> Tensor:
        """New embeddings (B, D_new) as the old space has them, (B, D_old)."""
        return resized(new, self.old.project.out_features)

    def learn(self, given: Given, fit: Fit) -> None:
        pairs = given["training embeddings"]
        new = given["plain new model"] if "plain new model" in given.needs else None
        teacher = Teacher(pairs.old, new, given["training labels"], given["old classes"])
        self.prepare(given["new model training"], teacher)
        fit(self)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up again what was learned, the new model and its classifier with it."""
        own = {name.removeprefix("new."): value for name, value in state.items() if name.startswith("new.")}
        load_embedder(self.new, own, type(self).__name__)
        super().restore(state)

    def prepare(self, recipe: SingleModel, teacher: Teacher) -> None:
        """Take the plain new model's recipe, and from the teacher what the losses need. Called before a training."""
        self.recipe = Recipe(recipe.label_smoothing, recipe.triplet_margin, recipe.warmup, recipe.optimizer)
        self.new.classify(len(teacher.known))
        self.train()
        self.register_buffer("old_space", teacher.old, persistent=False)

    @property
    def classifier(self) -> Classifier:
        """The new model's, in training."""
        assert self.new.classifier is not None
        return self.new.classifier

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """With the recipe's label smoothing."""
        return F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)

    def terms(self, new: Tensor, old: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """The losses of a batch by name.

        Args:
            new: (B, D_new) float32, of augmented images.
            old: (B, D_old), of the same images.
            labels: (B,).
            rows: (B,) numbers of the images, as in the teacher.
        """
        raise NotImplementedError

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        new = self.new(batch.image)
        with torch.autocast(new.device.type, enabled=False):
            terms = self.terms(new.float(), self.old_space[batch.group], batch.label, batch.group)
            if self.recipe.triplet_margin is not None:
                terms["triplet"] = batch_hard_triplet_loss(new, batch.label, self.recipe.triplet_margin)
        loss = torch.stack(list(terms.values())).sum()
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, sync_dist=True)
        figures = {f"train/{name}": value for name, value in terms.items()}
        self.log_dict(figures, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        steps = int(self.trainer.estimated_stepping_batches)
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return warmup_cosine(self.recipe.optimizer(learning), steps, self.recipe.warmup)

    def heads(self) -> dict[str, Tensor]:
        return {key: value for key, value in self.state_dict().items() if not key.startswith("old.")}

    def train(self, mode: bool = True) -> Joint:
        """Train or evaluate all but the old model."""
        super().train(mode)
        self.new.train(mode)
        return self

    def old_classifier(self) -> Classifier:
        """The old model's own.

        Raises:
            InputError: it has none, as its weights came without.
        """
        return needed(self.old, "old", type(self).__name__)
