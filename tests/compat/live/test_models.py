"""What a migration is known by: other weights, transforms, rules or distances are refused."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from compat.errors import InputError
from compat.experience import OwnForward
from compat.live import Images, Journal, Models, Rows
from compat.live.models import digest
from compat.merge import Isotonic, QueryZScore, ReciprocalRank, ZScore
from compat.methods import ReverseQuery, Upgrade
from compat.models import Embedder, Precomputed
from compat.needs import Given
from tests.helpers.live_galleries import NEW, OLD, models


def z_score(shift: float = 0.0) -> ZScore:
    rule, chance = ZScore(), np.random.default_rng(0)
    distances = chance.normal(size=50) + shift, chance.normal(size=50)
    rule.fit(Given(rule.needs, {"training distances": lambda: distances}, "ZScore"))
    return rule


def rqt(seed: int = 0) -> ReverseQuery:
    torch.manual_seed(seed)
    return ReverseQuery(Precomputed(OLD), Precomputed(NEW))


def test_the_same_models_have_the_same_fingerprint():
    options = {"upgrade": rqt(), "merge": z_score()}
    assert models(**options).fingerprint == models(**copy.deepcopy(options)).fingerprint


def test_arguments_of_a_rule_are_in_the_fingerprint():
    rules = [QueryZScore(), QueryZScore(200), QueryZScore(fewest=90), QueryZScore(seed=1)]
    assert len({models(merge=rule).fingerprint["merge"] for rule in rules}) == len(rules)
    assert models(merge=QueryZScore()).fingerprint == models(merge=QueryZScore(300, 100, 0)).fingerprint


def test_a_learner_has_its_own_rule():
    learner = OwnForward(Precomputed(OLD), Precomputed(NEW))
    with pytest.raises(InputError, match=r"^models.merge: QueryZScore with a learner, expected another rule$"):
        models(merge=QueryZScore(), learner=learner, refit=(0.5,))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("new", {"new": Rows(["a"], np.zeros((1, NEW)))}),
        ("old", {"old": Rows(["a"], np.zeros((1, OLD)))}),
        ("upgrade", {"upgrade": rqt(1)}),
        ("upgrade", {"upgrade": None}),
        ("merge", {"merge": z_score(1.0)}),
        ("merge", {"merge": ReciprocalRank()}),
        ("merge", {"merge": QueryZScore()}),
        ("distance", {"distance": "l2"}),
    ],
)
def test_a_migration_goes_on_with_no_others(name, other):
    mine = {"upgrade": rqt(), "merge": z_score()}
    begun = Journal(OLD, "cosine", phase="running", fingerprint=models(**mine).fingerprint)
    models(**mine).check(begun)
    changed = models(**{**mine, **other})
    with pytest.raises(InputError, match=f"{name}: .*, expected") as caught:
        changed.check(begun)
    assert "\n" not in str(caught.value)


def test_a_rollback_may_do_without_an_old_model_but_not_with_another():
    begun = Journal(OLD, "cosine", phase="running", fingerprint=models().fingerprint)
    models(old=None).check(begun)


def test_after_the_end_only_the_new_model_counts():
    ended = Journal(OLD, "cosine", phase="finalized", fingerprint=models().fingerprint)
    models(merge=ReciprocalRank(), old=None).check(ended)
    with pytest.raises(InputError, match=r"models.new"):
        models(new=Rows(["a"], np.zeros((1, NEW)))).check(ended)
    models(new=Rows(["a"], np.zeros((1, NEW)))).check(replace(ended, phase="rolled_back"))


@pytest.mark.parametrize("name", ["old", "new"])
def test_a_model_has_a_version(name):
    with pytest.raises(InputError, match=f"models.{name}: no version"):
        models(**{name: lambda contents: contents})


@pytest.mark.parametrize("version", [["v", 1], 7, object()])
def test_a_version_is_a_text(version):
    its = Rows(["a"], np.zeros((1, NEW)))
    its.version = version
    with pytest.raises(InputError, match=f"models.new: a version of type {type(version).__name__}, expected"):
        models(new=its)


@pytest.mark.parametrize("refit", [(0.5, 0.2), (0.5, 7), (0.5, "x"), 0.5, None, (0.1, None), ((0.1,), (0.2,))])
def test_refit_points_are_shares_that_ascend(refit):
    learner = OwnForward(Precomputed(OLD), Precomputed(NEW))
    with pytest.raises(InputError, match=r"refit: .*, expected .*shares of the gallery"):
        models(learner=learner, refit=refit)
    models(refit=(0.5, 0.2))  # of no learner
    models(learner=learner, refit=(0.2, 0.5))


def test_rules_that_need_labels_or_are_not_fitted_are_refused():
    with pytest.raises(InputError, match="Isotonic needs labels"):
        models(merge=Isotonic())
    with pytest.raises(InputError, match="ZScore is not fitted"):
        models(merge=ZScore())


def test_an_embedder_is_known_by_its_weights_and_its_preprocessing():
    class Mean(nn.Module):
        def forward(self, images):
            return images.mean((2, 3))

    torch.manual_seed(0)
    embedder = Embedder(Mean(), 4)
    embedder(torch.zeros(1, 3, 2, 2))
    model = Images(embedder, lambda content: torch.full((3, 2, 2), float(content)), "resize 2")
    rows = model(["1", "2"])
    assert rows.shape == (2, 4)
    np.testing.assert_allclose(rows[1] - rows[0], embedder.project.weight.detach().sum(1), atol=1e-5)
    before = model.version
    assert Images(embedder, model.read, "resize 4").version != before
    with torch.no_grad():
        embedder.project.bias[0] += 1e-6
    assert Images(embedder, model.read, "resize 2").version != before


def test_a_digest_sees_names_shapes_and_values():
    one = nn.Linear(2, 3)
    assert digest(one) == digest(copy.deepcopy(one))
    assert len({digest(one), digest(nn.Linear(3, 2)), digest(nn.Sequential(one))}) == 3


def test_independent_systems_stand_in_for_no_upgrade():
    assert type(models().upgrade_for(OLD, NEW)) is Upgrade
    assert Models(models().new).fingerprint["upgrade"] == "independent"
