"""The networks: an embedder around any backbone, and the heads psi and rho on top of embeddings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from compat.errors import InputError, at_least_one, positive


def simplex(dim: int) -> Tensor:
    """Build the vertices of a regular simplex around the origin: unit vectors (dim + 1, dim), pairwise equally far.

    CoReS: the axes' unit vectors and one more, (1 - sqrt(dim + 1)) / dim in each coordinate, minus their mean. (Its
    public code divides by the norm of the whole matrix: its vertices are shorter, by about sqrt(dim + 1).)
    """
    last = torch.full((1, dim), (1 - math.sqrt(dim + 1)) / dim, dtype=torch.float64)
    vertices = torch.cat([torch.eye(dim, dtype=torch.float64), last])
    return F.normalize(vertices - vertices.mean(0), dim=1).float()


def vertices_for(classes: int, dim: int, field: str = "embed_dim") -> Tensor:
    """Return the first vertices of `simplex(dim)`, one per class, (C, D).

    Raises:
        InputError: more classes than vertices.
    """
    if classes > dim + 1:
        raise InputError(f"{field}: {dim} for {classes} classes, expected at least {classes - 1} for a simplex")
    return simplex(dim)[:classes]


class Classifier(nn.Module):
    """The linear classifier an embedder is trained with.

    Args:
        dim: of the embedding.
        classes: C.
        scale: logits are `scale` times the cosine (openBCT's "normed softmax"); none: plain softmax with a bias.
    """

    def __init__(self, dim: int, classes: int, scale: float | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes, bias=scale is None)
        self.scale = scale

    def without_bias(self) -> None:
        """Freeze the bias, for losses of cosines, which give it no gradient."""
        if self.linear.bias is not None:
            self.linear.bias.requires_grad_(False)

    def fix(self, weight: Tensor) -> None:
        """Set the weight (C, D), zero the bias, and freeze both."""
        self.linear.weight.data.copy_(weight)
        if self.linear.bias is not None:
            nn.init.zeros_(self.linear.bias)
        self.requires_grad_(False)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map (B, D) to (B, C)."""
        if self.scale is None:
            return self.linear(embeddings)
        return self.scale * F.linear(F.normalize(embeddings, dim=1), F.normalize(self.linear.weight, dim=1))


class FinalNorm(nn.BatchNorm1d):
    """Batch normalisation with its weight fixed at 1 and a learned bias (the last layer of MixBCT's networks).

    The weight is a buffer, so unfreezing a whole model does not unfreeze it.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        del self.weight
        self.register_buffer("weight", torch.ones(dim), persistent=False)


class Embedder(nn.Module):
    """Backbone -> linear projection to `embed_dim` -> optional batch normalisation -> optional L2 normalisation.

    The classifier of a timm or torchvision model is removed, so the projection gets its pooled features. Any other
    backbone is used unchanged and returns features of shape (B, F). The first forward pass determines F.

    Args:
        backbone: from images (B, 3, H, W) to features (B, F).
        embed_dim: D, the dimension of the embedding.
        normalize: return unit vectors.
        scale: of the cosine logits of its classifier, used with `normalize` only.
        final_norm: end in a `FinalNorm`, as in MixBCT, UniBCT and (with a learned weight) AdvBCT.

    Attributes:
        norm: the `FinalNorm`, or the identity.
        classifier: the classifier it was trained with; None before a training, and if the weights came without one.
    """

    def __init__(
        self,
        backbone: nn.Module,
        embed_dim: int = 128,
        normalize: bool = False,
        scale: float = 16.0,
        final_norm: bool = False,
    ) -> None:
        super().__init__()
        at_least_one(embed_dim=embed_dim)
        positive(scale=scale)
        self.backbone = without_classifier(backbone).to(memory_format=torch.channels_last)  # faster on CPU and GPU
        self.project: nn.Linear = nn.LazyLinear(embed_dim)
        self.normalize, self.scale, self.final_norm = normalize, scale, final_norm
        self.norm: nn.Module = FinalNorm(embed_dim) if final_norm else nn.Identity()
        self.classifier: Classifier | None = None

    def reproject(self, embed_dim: int) -> None:
        """Replace the projection and its normalisation by new ones of another dimension."""
        self.project = nn.Linear(self.project.in_features, embed_dim)
        self.norm = FinalNorm(embed_dim) if self.final_norm else nn.Identity()

    def classify(self, classes: int) -> None:
        """Add a new classifier."""
        self.classifier = Classifier(self.project.out_features, classes, self.scale if self.normalize else None)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W), (B, D)."""
        return self.for_losses(images)[0]

    def for_losses(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed images (B, 3, H, W) for losses on classes, and for losses on distances: (B, D) each.

        The second is the first, or with a `final_norm` what goes into it: then the norm is a batch-normalisation neck
        (BNNeck, arXiv 1903.07071).
        """
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))
        if features.ndim != 2:
            raise InputError(
                f"backbone: {type(self.backbone).__name__} returns shape {tuple(features.shape)} for images of shape "
                f"{tuple(images.shape)}, expected (batch, features)"
            )
        projected = self.project(features)
        embeddings = self.norm(projected)
        embeddings = F.normalize(embeddings, dim=1) if self.normalize else embeddings
        return embeddings, projected if self.final_norm else embeddings


class Precomputed(Embedder):
    """Replaces an embedder if only embeddings exist: methods read its dimension and its classifier.

    Args:
        dim: D, of the embeddings.
        classifier: the model's classifier, for methods that need it.
    """

    def __init__(self, dim: int, classifier: Classifier | None = None) -> None:
        super().__init__(nn.Identity(), dim)
        self.project = nn.Linear(1, dim)
        self.classifier = classifier


def without_classifier(backbone: nn.Module) -> nn.Module:
    """Remove the classifier of a timm (`reset_classifier`) or torchvision model; leave others unchanged."""
    if callable(reset := getattr(backbone, "reset_classifier", None)):
        reset(0)
    elif type(backbone).__module__.startswith("torchvision.models"):
        for name in ("fc", "classifier", "heads", "head"):
            if layers := [
                key for key, m in backbone.named_modules() if isinstance(m, nn.Linear) and key.split(".")[0] == name
            ]:
                backbone.set_submodule(layers[-1], nn.Identity())
                break
    return backbone


def resnet(
    model_name: str, pretrained: bool = False, small_images: bool = False, last_stride: Literal[1, 2] = 2
) -> nn.Module:
    """Build a timm ResNet with the two changes retrieval papers make to it.

    Args:
        model_name: of a ResNet in timm, such as resnet18 or resnet50.
        pretrained: with timm's weights (a download).
        small_images: a 3x3 stem of stride 1 without max pooling, for images of 32x32 (He et al.'s for CIFAR); its
            weights are new even if the others are pretrained.
        last_stride: 1 keeps the resolution in the last stage, as in person re-identification.
    """
    import timm

    model: Any = timm.create_model(model_name, pretrained=pretrained)
    if small_images:
        model.conv1 = nn.Conv2d(3, model.conv1.out_channels, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    if last_stride == 1:
        for layer in model.layer4.modules():
            if isinstance(layer, nn.Conv2d):
                layer.stride = (1, 1)
    return model


def head(in_dim: int, out_dim: int, blocks: int = 3, hidden: int | None = None) -> nn.Sequential:
    """Build the network of psi and rho: `blocks` of Linear-BatchNorm-ReLU, the last Linear only (arXiv 2301.03767).

    Args:
        in_dim: dimension of the input embedding.
        out_dim: dimension of the output embedding.
        blocks: 1 to 5; 1 is a single linear map.
        hidden: width between the blocks; default max(2048, 4 * in_dim).

    Raises:
        InputError: `blocks` outside 1 to 5.
    """
    if not 1 <= blocks <= 5:
        raise InputError(f"blocks: {blocks}, expected 1 to 5")
    hidden = hidden or max(2048, 4 * in_dim)
    layers: list[nn.Module] = []
    for _ in range(blocks - 1):
        layers += [nn.Linear(in_dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
        in_dim = hidden
    return nn.Sequential(*layers, nn.Linear(in_dim, out_dim))


class ResidualHead(nn.Module):
    """rho: z + head(z); the head's last layer starts at zero, so rho starts at the identity."""

    def __init__(self, dim: int, blocks: int = 3, hidden: int | None = None) -> None:
        super().__init__()
        self.residual = head(dim, dim, blocks, hidden)
        last = self.residual[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map (B, D) to (B, D)."""
        return embeddings + self.residual(embeddings)


def read_checkpoint(path: str) -> dict[str, Tensor]:
    """Read an embedder's state dict from a .safetensors file or a PyTorch or Lightning checkpoint.

    Nothing pickled is executed (`weights_only=True`). From a `SingleModel`'s checkpoint, the embedder's part is read.

    Raises:
        InputError: a missing or unreadable file.
    """
    try:
        if Path(path).suffix == ".safetensors":
            state = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
            state = content.get("state_dict", content)
        inner = {key.removeprefix("embedder."): value for key, value in state.items() if key.startswith("embedder.")}
        return inner or state
    except Exception as error:  # each format and each kind of damage raises its own type
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if "weights only" in reason.lower().replace("_", " "):  # torch goes on to advise loading it unsafely
            reason = "it holds more than weights, and what is pickled is not executed"
        raise InputError(f"checkpoint: cannot read {path} ({reason}), expected weights only") from error


def load_embedder(embedder: Embedder, state: dict[str, Tensor], source: str) -> None:
    """Load weights into a fresh embedder and check that they fit.

    Raises:
        InputError: weights of another dimension or backbone, or with a final norm if the embedder has none or vice
            versa.
    """
    weight = state.get("project.weight")
    if isinstance(weight, Tensor) and len(weight) != embedder.project.out_features:
        raise InputError(
            f"embed_dim: {embedder.project.out_features}, but {source} holds an embedder of {len(weight)} dimensions; "
            f"expected embed_dim: {len(weight)}"
        )
    if (there := "norm.running_mean" in state) is not embedder.final_norm:
        found = "with" if there else "without"
        raise InputError(
            f"final_norm: {embedder.final_norm}, but {source} holds an embedder {found} one, "
            f"expected final_norm: {there}"
        )
    if (classes := state.get("classifier.linear.weight")) is not None:
        embedder.classify(len(classes))
    try:
        embedder.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"checkpoint: {source} does not fit the backbone ({reason})") from error
