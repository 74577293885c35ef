"""The ResNets of CIFAR, against their paper's counts and plain layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compat.cifar_resnet import CifarResNet
from compat.errors import InputError
from compat.models import Embedder


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (56, 0.85)])
def test_it_has_as_many_parameters_and_layers_as_in_the_paper(depth, millions):
    network = CifarResNet(depth)
    shortcuts = sum(p.numel() for name, p in network.named_parameters() if "downsample" in name)
    classifier = 64 * 10 + 10
    assert round((sum(p.numel() for p in network.parameters()) - shortcuts + classifier) / 1e6, 2) == millions
    convolutions = [
        name for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and "downsample" not in name
    ]
    assert len(convolutions) + 1 == depth


def test_it_computes_what_the_plain_layers_do():
    torch.manual_seed(0)
    network, images = CifarResNet(14, width=4).eval(), torch.randn(2, 3, 16, 16)
    state = network.state_dict()

    def convolved(rows, name, stride=1, padding=1):
        return F.conv2d(rows, state[f"{name}.weight"], stride=stride, padding=padding) / (1 + 1e-5) ** 0.5

    rows = convolved(images, "0").relu()
    for block in range(6):
        name, stride = str(block + 3), 2 if block in (2, 4) else 1
        shortcut = convolved(rows, f"{name}.downsample.0", 2, 0) if stride == 2 else rows
        inner = convolved(rows, f"{name}.conv1", stride).relu()
        rows = (convolved(inner, f"{name}.conv2") + shortcut).relu()
    torch.testing.assert_close(network(images), rows.mean((2, 3)), rtol=1e-4, atol=1e-5)
    assert Embedder(network, 8).eval()(images).shape == (2, 8)


@pytest.mark.parametrize(("options", "found"), [({"depth": 18}, "depth: 18"), ({"depth": 2}, "depth: 2")])
def test_other_depths_are_refused(options, found):
    with pytest.raises(InputError, match=f"{found}, expected 6 n"):
        CifarResNet(**options)
    with pytest.raises(InputError, match="width: 0, expected at least 1"):
        CifarResNet(width=0)
