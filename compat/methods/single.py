"""One embedder trained as a classifier: the old and the new model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from compat.errors import InputError, not_negative, positive
from compat.losses import batch_hard_triplet_loss
from compat.models import Embedder, vertices_for
from compat.optim import warmup_cosine, with_rate

if TYPE_CHECKING:
    from compat.data.images import Sample
    from compat.data.training import TrainingImages


class SingleModel(LightningModule):
    """Trains an embedder with cross entropy on a linear classifier.

    `triplet_margin` adds the batch-hard triplet loss of the embeddings, as in person re-identification; the data's
    `images_per_class` then gives every image of a batch positives. With `final_norm` too, the triplets compare the
    embeddings before the normalisation and the classifier those after it: BNNeck (arXiv 1903.07071), with a learned
    shift instead of a learned scale.

    With `normalize`, the embedding and the class weights are unit vectors and the logits are `scale` times their cosine
    (openBCT's "normed softmax"); otherwise plain softmax, as in FCT, BT-2 and openBCT.

    With `simplex`, the classifier is fixed to the vertices of a regular simplex, class c at vertex c (CoReS, arXiv
    2111.07632). Models trained on the same vertices are compatible as far as they fit them.

    Args:
        backbone: from images (B, 3, H, W) to features (B, F); see `Embedder`.
        embed_dim: dimension of the embedding.
        normalize: embeddings are unit vectors.
        scale: of the cosine logits; used with `normalize` only.
        label_smoothing: of the cross entropy; default none.
        triplet_margin: of the triplet loss; default no such loss.
        final_norm: end the embedder in batch normalisation, see `Embedder`.
        simplex: train on a fixed simplex of embed_dim + 1 vertices.
        warmup: share of the steps in which the learning rate rises, before its cosine.
        backbone_rate: learning rate of the backbone, as a multiple of that of projection and classifier; below 1 for
            pretrained weights.
        optimizer: from parameters to an optimizer; its learning rate is the peak.

    Attributes:
        views: random views of each image in a training batch.
    """

    views = 1

    def __init__(
        self,
        backbone: nn.Module,
        embed_dim: int = 128,
        normalize: bool = False,
        scale: float = 16.0,
        label_smoothing: float | None = None,
        triplet_margin: float | None = None,
        final_norm: bool = False,
        simplex: bool = False,
        warmup: float = 0.2,
        backbone_rate: float = 1.0,
        optimizer: OptimizerCallable = lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=5e-4),
    ) -> None:
        super().__init__()
        if label_smoothing is not None and not 0 <= label_smoothing <= 1:
            raise InputError(f"label_smoothing: {label_smoothing}, expected 0 to 1")
        not_negative(triplet_margin=triplet_margin)
        positive(backbone_rate=backbone_rate)
        self.embedder = Embedder(backbone, embed_dim, normalize, scale, final_norm)
        self.simplex = simplex
        self.label_smoothing, self.triplet_margin = label_smoothing or 0.0, triplet_margin
        self.warmup, self.backbone_rate = warmup, backbone_rate
        self.optimizer = optimizer

    def setup(self, stage: str) -> None:
        """Set the embedder's input size and the classifier's number of classes from the data."""
        if stage == "fit":
            data: TrainingImages = self.trainer.datamodule  # type: ignore[attr-defined]
            self.materialize(data.example)
            self.classify(data.num_classes)

    def classify(self, classes: int) -> None:
        """Give the embedder a classifier.

        Raises:
            InputError: more classes than a simplex of its dimension has vertices.
        """
        self.embedder.classify(classes)
        if self.simplex:
            assert self.embedder.classifier is not None
            self.embedder.classifier.fix(vertices_for(classes, self.embedder.project.out_features))

    def materialize(self, image: Tensor) -> None:
        """Pass one image (3, H, W) through the embedder, which sizes its lazy projection.

        Raises:
            InputError: the backbone does not take such images.
        """
        image = image[None]
        try:
            with torch.no_grad():
                self.embedder.eval()(image)
        except InputError:
            raise
        except Exception as error:  # whatever a backbone raises for a shape that it does not take
            found = f"{type(self.embedder.backbone).__name__} fails on images of shape {tuple(image.shape)}"
            reason = " ".join(str(error).split())
            raise InputError(f"backbone: {found} ({reason}), expected one that takes them") from error
        self.embedder.train()

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        embeddings, compared = self.embedder.for_losses(batch.image)
        assert self.embedder.classifier is not None
        logits = self.embedder.classifier(embeddings)
        loss = F.cross_entropy(logits, batch.label, label_smoothing=self.label_smoothing)
        if self.triplet_margin is not None:
            triplet = batch_hard_triplet_loss(compared, batch.label, self.triplet_margin)
            self.log("train/triplet", triplet, on_step=False, on_epoch=True, sync_dist=True)
            loss = loss + triplet
        accuracy = (logits.argmax(1) == batch.label).float().mean()
        figures = {"train/loss": loss, "train/accuracy": accuracy}
        self.log_dict(figures, prog_bar=True, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def predict_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Embed a batch, (B, D)."""
        return self.embedder(batch.image)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        steps = int(self.trainer.estimated_stepping_batches)
        optimizer = with_rate(self.optimizer, self.parameters(), self.embedder.backbone, self.backbone_rate)
        return warmup_cosine(optimizer, steps, self.warmup)
