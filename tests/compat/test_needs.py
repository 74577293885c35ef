"""Methods, orders and merge rules are handed what they declare, and nothing else."""

import inspect
from types import SimpleNamespace

import pytest
import torch

from benchmarks.config.spec import Spec
from compat import merge, methods, orders
from compat.data import Sample
from compat.errors import InputError
from compat.methods import Joint, Pair, Procrustes, SingleModel, Upgrade
from compat.models import Classifier, Precomputed
from compat.needs import Given
from tests.helpers.backbones import TinyConv
from tests.helpers.pairs import IMAGES, LABELS, embedded, embedders

OPTIONS = {"OCA": {"extra": 2}, "BT2": {"extra": 2}, "Affine": {"rank": 2}}
OPTIONS |= {"KernelQuery": {"centres": 8}, "KernelGallery": {"centres": 8}}
SMALL = ("DMU", "FCT", "ForwardContrast", "FastFill", "BiCT", "ResidualMLP", "LambdaOrthogonality", "ReverseQuery")
METHODS = [
    kind
    for _, kind in inspect.getmembers(methods, inspect.isclass)
    if issubclass(kind, Upgrade) and kind not in (Joint, methods.Learned, methods.Trained)
]
WORDS = ("needs", "needs_with", "encoder_passes", "transforms_gallery", "estimates")
DECLARING = [
    *METHODS,
    *(kind for kind in vars(orders).values() if inspect.isclass(kind) and issubclass(kind, orders.Order)),
    *(kind for kind in vars(merge).values() if inspect.isclass(kind) and issubclass(kind, merge.Merge)),
]


def made(kind, needs):
    """A small one; classifiers are there if they are declared."""
    old, new = embedders()
    if "old classifier" in needs:
        old.classify(2)
    if "new classifier" in needs:
        new.classify(4)
    options = {"hidden": 8} if kind.__name__ in SMALL else OPTIONS.get(kind.__name__, {})
    return kind(old, new, **options)


def there(kind) -> dict:
    """All that there is; a method that trains its own model is given no plain new embeddings beside the old ones."""
    pairs = embedded()
    return {
        "training embeddings": pairs._replace(new=pairs.new[:0]) if issubclass(kind, Joint) else pairs,
        "training labels": LABELS,
        "old classes": torch.tensor([1, -1, 0, -1]),
        "plain new model": pairs.new,
        "new model training": SingleModel(TinyConv(), 5),
    }


def one_step(module) -> None:
    """A fit of a single step on what the runner would show: pairs to a head, images to a whole model."""
    module.trainer = SimpleNamespace(max_epochs=6, current_epoch=3, global_step=2, estimated_stepping_batches=20)
    module.log = module.log_dict = lambda *_, **__: None
    batch = Sample(IMAGES, LABELS, torch.arange(24)) if isinstance(module, Joint) else embedded()
    parameters = [p for p in module.parameters() if p.requires_grad]
    loss = module.training_step(batch, 0)
    assert torch.isfinite(loss)
    assert any(g is not None and g.any() for g in torch.autograd.grad(loss, parameters, allow_unused=True))


class Watched(Given):
    """Remembers what was asked for."""

    def __getitem__(self, need):
        self.asked = {*getattr(self, "asked", ()), need}
        return super().__getitem__(need)


def learned(kind, needs) -> tuple[set[str], int]:
    """What a method asked for while it learned, and how often it called fit."""
    given, fits = Watched(needs, there(kind), kind.__name__), []

    def fit(module) -> None:
        one_step(module)
        fits.append(module)

    made(kind, needs).learn(given, fit)
    return getattr(given, "asked", set()), len(fits)


def test_what_was_not_declared_raises_though_it_is_there():
    given = Given(["training labels"], {"training labels": [0], "old gallery": [1]}, "Mine")
    assert given["training labels"] == [0]
    assert "old gallery" not in given
    with pytest.raises(InputError) as caught:
        given["old gallery"]
    assert str(caught.value) == "needs: 'old gallery' was not declared by Mine, expected it among its needs"


def test_what_was_declared_and_is_not_there_raises():
    with pytest.raises(
        InputError, match=r"^needs: 'uncertainty' of Mine is not to be had here, expected another method$"
    ):
        Given(["uncertainty"], {}, "Mine")["uncertainty"]


def test_a_need_that_nobody_knows_raises():
    with pytest.raises(InputError, match=r"^needs: 'labels' of Mine, expected some of training embeddings, "):
        Given(["labels"], {}, "Mine")


def test_a_function_is_called_when_it_is_asked_for_and_not_before():
    calls: list[int] = []

    def labels() -> list[int]:
        calls.append(1)
        return [0]

    given = Given(["training labels"], {"training labels": labels}, "Mine")
    assert calls == []
    assert given["training labels"] == [0]
    assert calls == [1]


def test_a_model_is_handed_over_and_not_called():
    classifier = Classifier(3, 2)
    assert Given(["old classifier"], {"old classifier": classifier}, "Mine")["old classifier"] is classifier


@pytest.mark.parametrize("kind", DECLARING, ids=lambda kind: kind.__name__)
def test_what_is_read_from_the_source_is_what_the_class_has(kind):
    spec = Spec({"class_path": f"{kind.__module__}.{kind.__name__}"})
    for word in WORDS:
        if hasattr(kind, word):
            assert spec.declared(word) == getattr(kind, word), word
    Given(spec.needs(), {}, kind.__name__)


def test_an_argument_brings_its_need_with_it():
    assert "side-information" in Spec({"class_path": "compat.methods.FCT", "init_args": {"side": 3}}).needs()
    assert "side-information" not in Spec({"class_path": "compat.methods.FCT", "init_args": {"side": 0}}).needs()
    assert "side-information" not in Spec({"class_path": "compat.methods.BiCT"}).needs()
    assert (
        "training labels" in Spec({"class_path": "compat.methods.ReverseQuery", "init_args": {"mcl": "joint"}}).needs()
    )
    assert "training labels" not in Spec({"class_path": "compat.methods.ReverseQuery"}).needs()


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.__name__)
def test_a_method_learns_with_exactly_what_it_declares(kind):
    asked, fits = learned(kind, kind.needs)
    assert fits == len({"head training", "new model training"} & set(kind.needs))
    by_fit = {"training embeddings", "training labels", "labels if known", "head training"}
    by_fit = by_fit if "head training" in kind.needs else set()
    in_models = {"old classifier", "new classifier"}
    assert asked | by_fit == set(kind.needs) - in_models | by_fit


@pytest.mark.parametrize(
    ("kind", "need"),
    [
        pytest.param(kind, need, id=f"{kind.__name__}-{need}")
        for kind in METHODS
        for need in kind.needs
        if need.endswith("classifier") or ("head training" not in kind.needs and need != "plain new model")
    ],
)
def test_a_method_does_not_learn_without_one_of_its_needs(kind, need):
    with pytest.raises(InputError):
        learned(kind, tuple(other for other in kind.needs if other != need))


def test_closed_forms_look_at_no_labels():
    pairs = embedded()
    for kind in (Procrustes, methods.Affine, methods.QueryDrift, methods.KernelQuery, methods.KernelGallery):
        with_labels, without = made(kind, ()), made(kind, ())
        with_labels.solve(pairs)
        without.solve(Pair(pairs.old, pairs.new, LABELS[:0]))
        for name, values in with_labels.heads().items():
            assert torch.equal(values, without.heads()[name]), name


@pytest.mark.parametrize("kind", [methods.FCT, methods.ResidualMLP, methods.ReverseQuery])
def test_a_head_whose_loss_reads_no_label_learns_without_one(kind):
    pairs, losses = embedded(), []
    for labels in (LABELS, torch.full_like(LABELS, -1)):
        torch.manual_seed(0)
        head = made(kind, kind.needs)
        head.learn(
            Given(kind.needs, {"training embeddings": pairs._replace(label=labels)}, kind.__name__),
            lambda module: losses.append(sum(module.terms(pairs._replace(label=labels)).values())),  # noqa: B023
        )
    assert torch.equal(*losses)


def test_only_a_method_that_says_so_says_how_uncertain_it_is():
    for kind in METHODS:
        method = made(kind, kind.needs).eval()
        if kind.estimates:
            assert method.uncertainty(embedded().old).shape == (24,)
        else:
            with pytest.raises(InputError, match=f"uncertainty: {kind.__name__} says none"):
                method.uncertainty(embedded().old)


def test_embeddings_are_enough_to_learn_from():
    method, pairs = Procrustes(Precomputed(3), Precomputed(5)), embedded()
    method.learn(Given(Procrustes.needs, {"training embeddings": pairs}, "Procrustes"), one_step)
    expected = Procrustes(*embedders())
    expected.solve(pairs)
    assert torch.equal(method.query_for_old(pairs.old, pairs.new), expected.query_for_old(pairs.old, pairs.new))
