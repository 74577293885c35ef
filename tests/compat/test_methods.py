"""How the methods fill the four matrices, what they train and what they leave alone."""

import pytest
import torch

from compat.data import Sample
from compat.errors import InputError
from compat.losses import alignment_loss, metric_compatible_loss
from compat.methods import ReverseQuery, Upgrade
from compat.needs import Given
from compat.pairs import CachedEmbeddings, PairData, PairSampler
from tests.helpers.pairs import IMAGES, LABELS, embedded, embedders, quiet_trainer


def fitted(method, epochs=4):
    data = PairData(CachedEmbeddings(*embedded()), batch_size=8, seed=0)
    quiet_trainer(epochs).fit(method, data)
    return method


def test_independent_compares_each_part_with_its_own_model():
    method, (old, new, _) = Upgrade(*embedders()), embedded()
    assert method.query(old, new) == (old, new)
    assert method.gallery(old, new) == (old, new)
    assert method.heads() == {}
    assert method.encoder_passes == 2


@pytest.mark.parametrize("rho", [True, False])
def test_rqt_serves_both_parts_from_the_new_query(rho):
    method, (old, new, _) = fitted(ReverseQuery(*embedders(), hidden=8, rho=rho, mcl="joint")).eval(), embedded()
    query_old, query_new = method.query(torch.full_like(old, torch.nan), new)
    gallery_old, gallery_new = method.gallery(old, new)
    torch.testing.assert_close(query_old, method.psi(method.rho(new)))
    torch.testing.assert_close(query_new, method.rho(new))
    torch.testing.assert_close(gallery_new, query_new)
    torch.testing.assert_close(gallery_old, old)
    assert torch.equal(gallery_new, new) is not rho
    assert method.encoder_passes == 1


@pytest.mark.parametrize(("mcl", "rho"), [(None, False), ("joint", False), ("joint", True), ("new_only", True)])
def test_training_changes_the_heads_and_nothing_else(mcl, rho):
    method = ReverseQuery(*embedders(), hidden=8, mcl=mcl, rho=rho)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    for key, value in fitted(method).state_dict().items():
        frozen = key.startswith(("old.", "new."))
        assert torch.equal(before[key], value) is frozen, key
    assert not method.old.training
    assert not method.new.training
    assert all(key.startswith(("psi.", "rho.")) for key in method.heads())


@pytest.mark.parametrize("options", [{}, {"reduction": "inside"}, {"k_pos": 1}, {"k_neg": 2}, {"self_positive": False}])
def test_the_loss_is_alignment_plus_lambda_times_contrast(options):
    networks, batch = embedders(), embedded()
    method = ReverseQuery(*networks, hidden=8, mcl="joint", mcl_weight=0.3, temperature=0.5, **options)
    method.log = lambda *_, **__: None  # type: ignore[method-assign]
    method.eval()
    transformed = method.psi(batch.new)
    contrast = metric_compatible_loss(transformed, batch.old, batch.new, batch.label, temperature=0.5, **options)
    expected = alignment_loss(transformed, batch.old) + 0.3 * contrast
    torch.testing.assert_close(method.training_step(batch, 0), expected)


def test_images_are_embedded_on_arrival():
    method = ReverseQuery(*embedders(), hidden=8)
    batch = method.on_after_batch_transfer(Sample(IMAGES, LABELS, torch.arange(24)), 0)
    for found, expected in zip(batch, embedded(), strict=True):
        torch.testing.assert_close(found, expected)


def test_batch_normalisation_is_frozen_in_the_second_half():
    modes = []

    class Spy(ReverseQuery):
        def training_step(self, batch, batch_idx):
            modes.append(self.psi[1].training)
            return super().training_step(batch, batch_idx)

    fitted(Spy(*embedders(), hidden=8))
    assert modes == [True] * 6 + [False] * 6


def test_new_only_needs_rho():
    with pytest.raises(InputError, match="mcl: new_only without rho, expected rho: true"):
        ReverseQuery(*embedders(), mcl="new_only")


def test_a_contrast_needs_two_classes_and_an_alignment_does_not():
    old, new, labels = embedded()
    values = {"training embeddings": (old, new), "training labels": torch.full_like(labels, 3)}
    fits: list[object] = []
    for mcl in (None, "joint"):
        method = ReverseQuery(*embedders(), hidden=8, mcl=mcl)
        given = Given([*ReverseQuery.needs, *(["training labels"] if mcl else [])], values, "ReverseQuery")
        if mcl is None:
            method.learn(given, fits.append)
        else:
            with pytest.raises(InputError, match="data: training images of a single class, expected at least 2"):
                method.learn(given, fits.append)
    assert len(fits) == 1


def test_a_class_with_a_single_image_has_no_pairs():
    with pytest.raises(InputError, match="class 7 has a single training image, expected at least 2"):
        PairSampler(torch.tensor([0, 0, 7]), 0)


def test_every_batch_of_pairs_has_two_of_a_class():
    labels = torch.tensor([0] * 7 + [1] * 4 + [2] * 3)
    order = list(PairSampler(labels, 0))
    assert sorted(set(order)) == list(range(14))
    assert len(order) == len(PairSampler(labels, 0)) == 16
    assert labels[order[::2]].tolist() == labels[order[1::2]].tolist()
    again = list(PairSampler(labels, 1))
    assert order != again
