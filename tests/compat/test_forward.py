"""Methods that bring the old gallery into the new space, and the side-information that they may take."""

import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from compat.data import ImageFolder, Sample, Share
from compat.data.transforms import Views, photographs
from compat.errors import InputError
from compat.losses import cosines, metric_compatible_loss
from compat.methods import FCT, BiCT, FastFill, ForwardContrast, Pair, SimCLR
from compat.methods.fastfill import uncertainty_loss
from compat.methods.fct import forward_loss
from compat.methods.simclr import nt_xent_loss
from compat.models import load_embedder
from tests import ROOT
from tests.helpers.backbones import TinyConv
from tests.helpers.pairs import embedders, normal, paired, quiet_trainer, rotation, trained

KINDS = pytest.mark.parametrize("kind", [FCT, FastFill, BiCT])


def made(kind, old_dim=3, new_dim=5, classifier=True, **options):
    old, new = embedders(old_dim, new_dim)
    if classifier:
        new.classify(4)
    return kind(old, new, hidden=16, **options)


def rows_of(rows):
    return [[float(value) for value in row] for row in rows]


def unit(row):
    length = math.sqrt(sum(value**2 for value in row))
    return [value / length for value in row]


def differences(transformed, new, normalize):
    """Number by number."""
    found = []
    for a, b in zip(rows_of(transformed), rows_of(new), strict=True):
        a, b, share = (unit(a), unit(b), 1) if normalize else (a, b, len(a))
        found.append(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / share)
    return found


def nt_xent(first, second, temperature):
    """View by view."""
    views = [unit(row) for row in rows_of(first) + rows_of(second)]
    size, losses = len(views), []
    for i in range(size):
        weights = [math.exp(sum(a * b for a, b in zip(views[i], v, strict=True)) / temperature) for v in views]
        other = weights[(i + size // 2) % size]
        losses.append(-math.log(other / (sum(weights) - weights[i])))
    return sum(losses) / size


def entropies(logits, labels, smoothing=0.0):
    """Row by row."""
    found = []
    for row, label in zip(rows_of(logits), labels.tolist(), strict=True):
        logs = [value - math.log(sum(math.exp(other) for other in row)) for value in row]
        found.append(-(1 - smoothing) * logs[label] - smoothing * sum(logs) / len(logs))
    return found


@pytest.mark.parametrize("normalize", [True, False])
def test_forward_loss_equals_loops(normalize):
    transformed, new = normal(6, 5), normal(6, 5, seed=1)
    found = forward_loss(transformed, new, normalize).tolist()
    assert found == pytest.approx(differences(transformed, new, normalize), rel=1e-5)


def test_forward_loss_by_hand():
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]])
    assert forward_loss(a, b, normalize=False).item() == pytest.approx(16 / 2)
    assert forward_loss(a, b, normalize=True).item() == pytest.approx(0.4**2 + 0.8**2)


def test_uncertainty_loss_equals_loops_and_a_case_by_hand():
    errors, s = normal(7).square(), normal(7, seed=1)
    terms = [math.exp(-b) * a / 2 + b / 2 for a, b in zip(errors.tolist(), s.tolist(), strict=True)]
    assert uncertainty_loss(errors, s).item() == pytest.approx(sum(terms) / 7, rel=1e-5)
    by_hand = uncertainty_loss(torch.tensor([2.0, 4.0]), torch.tensor([0.0, math.log(2)]))
    assert by_hand.item() == pytest.approx((1 + 1 + math.log(2) / 2) / 2)


def test_uncertainty_is_best_at_the_logarithm_of_the_error():
    errors, best = torch.tensor([0.2, 3.0]), torch.tensor([0.2, 3.0]).log()
    for other in (best + 0.1, best - 0.1, best.flip(0)):
        assert uncertainty_loss(errors, best) < uncertainty_loss(errors, other)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_nt_xent_loss_equals_loops(temperature):
    first, second = normal(5, 3), normal(5, 3, seed=1)
    found = nt_xent_loss(first, second, temperature).item()
    assert found == pytest.approx(nt_xent(first, second, temperature), rel=1e-5)


def test_nt_xent_loss_by_hand():
    """Two images, orthogonal to each other, t = 1: the other view has cosine 1, two views have 0."""
    rows = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert nt_xent_loss(rows, 3 * rows, 1.0).item() == pytest.approx(math.log(1 + 2 / math.e))


def test_identical_views_have_a_lower_loss_than_unrelated_ones():
    rows = normal(16, 8)
    assert nt_xent_loss(rows, rows) < nt_xent_loss(rows, normal(16, 8, seed=1)) - 0.5


@KINDS
def test_the_old_gallery_is_transformed_and_nothing_else(kind):
    method, old, new = made(kind).eval(), normal(6, 3), normal(6, 5, seed=1)
    query_old, query_new = method.query(torch.full_like(old, torch.nan), new)
    assert query_old is new
    assert query_new is new
    gallery_old, gallery_new = method.gallery(old, new)
    assert gallery_new is new
    assert gallery_old.shape == (6, 5)
    assert torch.equal(gallery_old, method.gallery(old, torch.full_like(new, torch.nan))[0])
    assert torch.equal(gallery_old, method.head(old, old))
    assert method.encoder_passes == 1
    assert method.transforms_gallery


@pytest.mark.parametrize("kind", [FCT, FastFill])
def test_side_information_is_read_from_the_columns_after_the_old_embedding(kind):
    method, rows = made(kind, side=2).eval(), normal(6, 3 + 2)
    transformed = method.gallery(rows, normal(6, 5, seed=1))[0]
    assert transformed.shape == (6, 5)
    assert torch.equal(transformed, method.head(rows[:, :3], rows[:, 3:]))
    for column in range(5):
        changed = rows.clone()
        changed[:, column] += 1
        assert not torch.allclose(method.transform(changed), transformed)


@pytest.mark.parametrize(("side", "beside"), [(0, [6, 10]), (2, [4, 10])])
def test_the_widths_are_those_of_the_paper(side, beside):
    """Of old, side and mixer: D_old 3, D_new 5, hidden 16."""
    head = made(FCT, side=side).head
    widths = [[m.out_features for m in part.modules() if isinstance(m, nn.Linear)] for part in head.children()]
    assert widths == [[6, 10], beside, [16, 16, 5]]
    assert sum(isinstance(m, nn.BatchNorm1d) for m in head.modules()) == 6
    assert [m.bias is None for m in head.modules() if isinstance(m, nn.Linear)] == [True] * 6 + [False]


@pytest.mark.parametrize("normalize", [True, False])
def test_terms_are_those_of_the_formula(normalize):
    pairs = paired(normal(8, 3), normal(8, 5, seed=1))._replace(label=torch.tensor([0, 0, 0, 1, 0, 0, 2, 0]))
    for kind in (FCT, FastFill, BiCT):
        options = {"classification": 0.7} if kind is FastFill else {}
        method = made(kind, normalize=normalize, **options).eval()
        transformed = method.transform(pairs.old).detach()
        forward = differences(transformed, pairs.new, normalize)
        expected = {"forward": sum(forward) / 8}
        if kind is BiCT:
            logits = method.new.classifier(transformed).detach()
            expected["classification"] = sum(entropies(logits, pairs.label)) / 8
        if kind is FastFill:
            losses = entropies(method.new.classifier(transformed).detach(), pairs.label, smoothing=0.1)
            s = method.uncertainty(pairs.old).tolist()
            rows = zip(forward, losses, s, strict=True)
            expected = {"uncertainty": sum(math.exp(-c) * (a + 0.7 * b) / 2 + c / 2 for a, b, c in rows) / 8}
        found = {name: value.item() for name, value in method.terms(pairs).items()}
        assert found == pytest.approx(expected, rel=1e-5)


@KINDS
def test_training_changes_the_heads_and_neither_model_nor_classifier(kind):
    method = made(kind)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    pairs = paired(normal(32, 3), normal(32, 5, seed=1))
    for key, value in trained(method, pairs, epochs=2).state_dict().items():
        assert torch.equal(before[key], value) is key.startswith(("old.", "new.")), key
    assert all(key.startswith(("head.", "log_variance.")) for key in method.heads())
    fresh = made(kind).eval()
    fresh.load_state_dict(method.heads(), strict=False)
    assert torch.equal(fresh.transform(pairs.old), method.transform(pairs.old))


@pytest.mark.parametrize("kind", [FastFill, BiCT])
def test_a_new_model_without_a_classifier_is_named(kind):
    method = made(kind, classifier=False)
    with pytest.raises(InputError, match=f"new.checkpoint: weights without a classifier.*{kind.__name__} needs it"):
        method.terms(paired(normal(8, 3), normal(8, 5)))


@KINDS
@pytest.mark.parametrize("normalize", [True, False])
def test_a_planted_map_is_learned_and_holds_for_other_rows(kind, normalize):
    old = normal(320, 4)
    pairs = paired(old, torch.tanh(old @ normal(4, 6, seed=1)))
    shown, other = (paired(pairs.old[rows], pairs.new[rows]) for rows in (slice(256), slice(256, None)))
    method = made(kind, 4, 6, normalize=normalize, **({"classification": 0.0} if kind is FastFill else {})).eval()
    start = forward_loss(method.transform(other.old), other.new, normalize).mean()
    trained(method, shown)
    assert forward_loss(method.transform(other.old), other.new, normalize).mean() < 0.3 * start


def test_side_information_teaches_what_the_old_embedding_does_not_tell():
    rows = normal(256, 3 + 2)
    pairs = paired(rows, rows @ rotation(5))
    with_side = trained(made(FCT, side=2), pairs).terms(pairs)["forward"]
    without = paired(rows[:, :3], pairs.new)
    assert with_side < 0.3 * trained(made(FCT), without).terms(without)["forward"]


def test_fastfill_is_less_certain_of_rows_with_noise():
    old = normal(256, 4)
    noisy = old[:, 0] > 0
    new = torch.where(noisy[:, None], normal(256, 6, seed=1), old @ normal(4, 6, seed=2))
    found = trained(made(FastFill, 4, 6), paired(old, new)).uncertainty(old)
    assert found.shape == (256,)
    assert found[noisy].mean() > found[~noisy].mean() + 0.3
    assert found[noisy].quantile(0.25) > found[~noisy].median()


def test_forward_contrast_brings_old_items_to_the_new_ones_of_their_class():
    labels = torch.arange(256) % 4
    centres = normal(4, 6, seed=2)
    new = centres[labels] + normal(256, 6, seed=3)
    pairs = Pair(torch.tanh(new @ normal(6, 5, seed=4)), new, labels)
    shown, other = (Pair(*(part[rows] for part in pairs)) for rows in (slice(192), slice(192, None)))
    method = trained(made(ForwardContrast, 5, 6, temperature=0.2), shown).eval()
    with torch.no_grad():
        (query, _), (ahead, served) = method.query(other.old, other.new), method.gallery(other.old, other.new)
        assert torch.equal(query, served)

        def share(items):  # of the nearest item of another image that is of the query's class
            near = cosines(query, items).fill_diagonal_(-1).argmax(1)
            return (other.label[near] == other.label).float().mean()

        assert share(ahead) > share(other.new) - 0.05
        assert share(served) > share(other.new)


def test_forward_contrast_is_the_alignment_and_the_contrast_of_what_it_serves():
    pairs = paired(normal(8, 3), normal(8, 5, seed=1))
    method = made(ForwardContrast, mcl_weight=0.5, temperature=0.3, k_neg=2).eval()
    ahead, served = method.gallery(pairs.old, pairs.new)
    terms = method.terms(pairs)
    assert terms["alignment"].item() == pytest.approx(np.mean(differences(ahead, served, True)), rel=1e-5)
    contrast = metric_compatible_loss(served, ahead, served, pairs.label, temperature=0.3, k_neg=2)
    assert terms["mcl"].item() == pytest.approx(0.5 * contrast.item())
    assert torch.equal(served, pairs.new)  # rho starts at the identity


def test_bict_is_based_on_bct_by_its_config():
    shipped = yaml.safe_load((ROOT / "configs/methods/bict.yaml").read_text())
    assert (shipped["class_path"], shipped["based_on"]) == ("compat.methods.BiCT", "bct.yaml")


def test_views_are_stacked_and_differ():
    random = np.random.default_rng(0)
    photo = Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    augment, plain = photographs(8, min_crop=0.5, resize=8)
    views = Views(augment, 5)(photo)
    assert views.shape == (5, 3, 8, 8)
    assert all(not torch.equal(views[0], other) for other in views[1:])
    recoloured = Views(v2.Compose([plain]), 20)(photo)
    assert len(torch.unique(recoloured.flatten(1), dim=0)) > 10


def test_simclr_pairs_the_views_of_an_image_and_drops_its_projection(image_root, monkeypatch):
    pl.seed_everything(0, verbose=False)
    data = ImageFolder(str(image_root), image_size=8, batch_size=24, num_workers=0)
    training = data.training(Share(), 0, SimCLR.views)
    assert next(iter(training.train_dataloader())).image.shape == (24, 2, 3, 8, 8)
    model = SimCLR(TinyConv(4), embed_dim=6)
    quiet_trainer(epochs=1).fit(model, training)
    fresh = SimCLR(TinyConv(4), embed_dim=6)
    load_embedder(fresh.embedder, model.embedder.state_dict(), "SimCLR")
    assert fresh.embedder.classifier is None
    images = normal(5, 2, 3, 8, 8)
    first, second = (model.eval().projection(model.embedder(images[:, view])).detach() for view in (0, 1))
    monkeypatch.setattr(model, "log", lambda *_, **__: None)
    loss = model.training_step(Sample(images, torch.zeros(5, dtype=torch.long), torch.arange(5)), 0)
    assert loss.item() == pytest.approx(nt_xent(first, second, 0.5), rel=1e-5)
