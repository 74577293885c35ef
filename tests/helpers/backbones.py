"""Backbones in a user's own file."""

from torch import Tensor, nn


class TinyConv(nn.Module):
    """One convolution and a global average: images (B, 3, H, W) -> features (B, width)."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).mean((2, 3))


class FeatureMap(nn.Module):
    """A backbone without pooling, which is not one for us."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)


class Broken(nn.Module):
    """A backbone whose training has gone wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) * float("nan")


class Fragile(nn.Module):
    """A backbone that takes no image of ours."""

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("expected 224 pixels")
