"""Embedders around every kind of backbone, the heads, and checkpoints."""

from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from compat.errors import InputError
from compat.models import (
    Classifier,
    Embedder,
    FinalNorm,
    ResidualHead,
    head,
    load_embedder,
    read_checkpoint,
    resnet,
    simplex,
    vertices_for,
)
from tests.helpers.backbones import FeatureMap, TinyConv


@pytest.mark.parametrize(
    ("make", "features"),
    [
        (lambda: timm.create_model("resnet10t"), 512),
        (lambda: timm.create_model("resnet10t", num_classes=0), 512),
        (lambda: torchvision.models.resnet18(weights=None), 512),
        (lambda: torchvision.models.mobilenet_v3_small(weights=None), 1024),
        (lambda: torchvision.models.vit_b_32(weights=None, image_size=32), 768),
        (lambda: TinyConv(6), 6),
    ],
)
def test_the_projection_sees_the_backbones_features(make, features):
    embedder = Embedder(make(), embed_dim=7).eval()
    assert embedder(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert embedder.project.in_features == features


def test_normalized_embeddings_are_unit_vectors():
    embeddings = Embedder(TinyConv(), 5, normalize=True)(torch.randn(4, 3, 9, 9))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))


def test_a_backbone_without_pooling_is_refused():
    with pytest.raises(InputError, match=r"FeatureMap returns shape \(2, 4, 7, 7\).*expected \(batch, features\)"):
        Embedder(FeatureMap())(torch.randn(2, 3, 9, 9))


@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5])
def test_a_head_has_so_many_linear_layers_and_ends_with_one(blocks):
    network = head(6, 4, blocks, hidden=8)
    assert network(torch.randn(3, 6)).shape == (3, 4)
    assert [type(layer) for layer in network] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * (blocks - 1) + [nn.Linear]


def test_a_head_is_2048_wide_or_four_times_its_input():
    assert head(128, 64, blocks=2)[0].out_features == 2048
    assert head(768, 64, blocks=2)[0].out_features == 3072


@pytest.mark.parametrize("blocks", [0, 6])
def test_a_head_has_1_to_5_blocks(blocks):
    with pytest.raises(InputError, match=f"blocks: {blocks}, expected 1 to 5"):
        head(4, 4, blocks)


def test_rho_starts_at_the_identity_and_can_leave_it():
    rho, embeddings = ResidualHead(6, hidden=8), torch.randn(5, 6)
    torch.testing.assert_close(rho(embeddings), embeddings)
    rho(embeddings).sum().backward()
    gradients = [parameter.grad for parameter in rho.residual[-1].parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def embedder(embed_dim=5, width=8):
    network = Embedder(TinyConv(width), embed_dim)
    network(torch.randn(2, 3, 9, 9))
    return network.eval()


@pytest.mark.parametrize("kind", ["safetensors", "state dict", "lightning"])
def test_checkpoints_are_read(kind, tmp_path):
    source = embedder()
    path = str(tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.ckpt"))
    if kind == "safetensors":
        save_file({key: value.contiguous() for key, value in source.state_dict().items()}, path)
    elif kind == "state dict":
        torch.save(source.state_dict(), path)
    else:
        prefixed = {f"embedder.{key}": value for key, value in source.state_dict().items()}
        torch.save({"state_dict": {**prefixed, "classifier.weight": torch.ones(1)}, "epoch": 3}, path)
    target = Embedder(TinyConv(), 5).eval()
    load_embedder(target, read_checkpoint(path), path)
    images = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(target(images), source(images))


def test_a_checkpoint_of_another_dimension_or_backbone_is_refused():
    state = embedder(embed_dim=5).state_dict()
    with pytest.raises(InputError, match=r"embed_dim: 6, but old\.ckpt holds an embedder of 5 dimensions"):
        load_embedder(Embedder(TinyConv(), 6), state, "old.ckpt")
    with pytest.raises(InputError, match=r"checkpoint: old\.ckpt does not fit the backbone"):
        load_embedder(Embedder(TinyConv(9), 5), state, "old.ckpt")


def test_a_final_norm_centres_and_scales_and_learns_a_shift_alone():
    """Its weight is 1 throughout; weights of an embedder without one load as before and are told apart."""
    torch.manual_seed(0)
    plain, normed = Embedder(TinyConv(), 5), Embedder(TinyConv(), 5, final_norm=True)
    images = torch.randn(16, 3, 9, 9)
    normed(images)
    rows = normed.requires_grad_(True)(images)
    torch.testing.assert_close(rows.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    before = normed.project(normed.backbone(images))
    expected = (before - before.mean(0)) / (before.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(rows, expected, atol=1e-4, rtol=1e-3)
    assert [name for name, _ in normed.norm.named_parameters()] == ["bias"]
    plain(images)
    assert not any(key.startswith("norm") for key in plain.state_dict())
    fresh = Embedder(TinyConv(), 5, final_norm=True)
    load_embedder(fresh, normed.state_dict(), "x.ckpt")
    torch.testing.assert_close(fresh.eval()(images), normed.eval()(images))
    with pytest.raises(
        InputError, match=r"final_norm: True, but x\.ckpt holds an embedder without one, expected final_norm: F"
    ):
        load_embedder(Embedder(TinyConv(), 5, final_norm=True), plain.state_dict(), "x.ckpt")
    with pytest.raises(InputError, match=r"final_norm: False, but x\.ckpt holds an embedder with one"):
        load_embedder(Embedder(TinyConv(), 5), normed.state_dict(), "x.ckpt")
    normed.reproject(7)
    assert isinstance(normed.norm, FinalNorm)
    assert normed(images).shape == (16, 7)
    unit = Embedder(TinyConv(), 5, normalize=True, final_norm=True)(images)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(16))


@pytest.mark.parametrize("scale", [None, 16.0])
def test_a_fixed_classifier_has_the_given_weight_and_learns_nothing(scale):
    classifier, (rows,) = Classifier(4, 3, scale), torch.randn(1, 6, 4)
    classifier.fix(vertices_for(3, 4))
    expected = (
        rows @ simplex(4)[:3].T if scale is None else scale * (rows / rows.norm(dim=1)[:, None]) @ simplex(4)[:3].T
    )
    torch.testing.assert_close(classifier(rows), expected)
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    with pytest.raises(InputError, match="embed_dim: 4 for 6 classes, expected at least 5 for a simplex"):
        vertices_for(6, 4)


class Trap:
    """What a malicious pickle does when it is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


def test_nothing_pickled_is_executed(tmp_path):
    torch.save({"state_dict": Trap()}, tmp_path / "trap.ckpt")
    with pytest.raises(InputError, match=r"cannot read .*is not executed\), expected weights only$") as found:
        read_checkpoint(str(tmp_path / "trap.ckpt"))
    assert "weights_only" not in str(found.value)
    with pytest.raises(InputError, match="checkpoint: cannot read"):
        read_checkpoint(str(tmp_path / "missing.safetensors"))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_resnets_of_retrieval_papers(name):
    """The CIFAR stem keeps 32x32, so three stages of stride 2 leave 4x4; a last stage of stride 1 doubles the map."""

    def size(model: Any) -> tuple[int, ...]:
        return tuple(model.eval().forward_features(torch.zeros(1, 3, 32, 32)).shape[2:])

    assert size(resnet(name)) == (1, 1)
    assert size(resnet(name, small_images=True)) == (4, 4)
    assert size(resnet(name, last_stride=1)) == (2, 2)
    plain, changed = resnet(name).state_dict(), resnet(name, last_stride=1).state_dict()
    assert {k: v.shape for k, v in plain.items()} == {k: v.shape for k, v in changed.items()}
