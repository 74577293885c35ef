"""The residual networks for images of 32 pixels (arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock

from compat.errors import InputError, at_least_one


class CifarResNet(nn.Sequential):
    """Images (B, 3, H, W) -> features (B, 4 * width); three stages, the second and third of stride 2.

    Shortcuts between stages are convolutions of 1x1 (the paper's option B) instead of zero padding.

    Args:
        depth: 6 n + 2 layers for n blocks a stage: 20, 32, 44, 56, 110.
        width: channels of the first stage.

    Raises:
        InputError: another depth, a width below 1.
    """

    def __init__(self, depth: int = 20, width: int = 16) -> None:
        at_least_one(width=width)
        if depth < 8 or (depth - 2) % 6:
            raise InputError(f"depth: {depth}, expected 6 n + 2 for n blocks a stage, such as 20")
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        inside = width
        for channels in (width, 2 * width, 4 * width):
            for _ in range((depth - 2) // 6):
                stride, shortcut = 1, None
                if channels != inside:
                    stride = 2
                    shortcut = nn.Sequential(nn.Conv2d(inside, channels, 1, 2, bias=False), nn.BatchNorm2d(channels))
                layers.append(BasicBlock(inside, channels, stride, shortcut))
                inside = channels
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
