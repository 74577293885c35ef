"""What a learner learned is read back to the last bit, and anything else is refused in one line."""

import io
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from compat.errors import InputError
from compat.experience import (
    WORLDS,
    Baseline,
    Learner,
    OwnBack,
    OwnCalibration,
    OwnForward,
    Prior,
    SeenItems,
    regressions,
)
from compat.experience.fits import VERSION, dump, load
from compat.experience.seen import baseline, serve_baseline
from compat.merge import ReciprocalRank
from tests.helpers.own_pairs import DIM, learner, upgrade
from tests.helpers.pairs import normal, rotation

LEARNERS = [
    (OwnCalibration, {}),
    *((kind, {"world": world}) for kind in (OwnBack, OwnForward) for world in WORLDS),
]
QUERIES = normal(50, DIM, seed=9), normal(50, DIM, seed=10)


def seen(items: int = 240, cone: float = 2.0) -> SeenItems:
    """Pairs among all items but a third; the new space is the old one rotated, whose embeddings lie in a cone."""
    hidden = F.normalize(normal(6, DIM, seed=3), dim=1)[torch.arange(items) % 6] + 0.1 * normal(items, DIM, seed=4)
    old = F.normalize(F.normalize(hidden, dim=1) + 0.07 * normal(items, DIM, seed=5) + cone * torch.eye(DIM)[0], dim=1)
    pairs = torch.arange(items * 2 // 3)
    return SeenItems(old, pairs, F.normalize(hidden, dim=1)[pairs] @ rotation(DIM))


def check(serving, known, old):
    """What is read back serves as what was learned."""
    fit = load(dump(serving), known)
    for count in (1, 7, 50):
        some = [rows[:count] for rows in QUERIES]
        assert torch.equal(fit.query(*some), serving.query(*some))
    assert torch.equal(old if fit.item is None else fit.item(old), serving.gallery)
    assert fit.passes == serving.passes
    assert (fit.merge is None) == (serving.merge is None)
    if serving.merge is not None and fit.merge is not None:
        asked = np.linspace(-1, 3, 99, dtype=np.float32)
        for mine, its in zip(fit.merge.scales or (), serving.merge.scales, strict=True):
            np.testing.assert_array_equal(mine(asked), its(asked))
    assert dump(serving) == dump(serving)


@pytest.mark.parametrize("cone", [0.0, 2.0])
@pytest.mark.parametrize(("kind", "options"), LEARNERS)
def test_what_each_learner_learned_is_read_back_to_the_last_bit(kind, options, cone):
    pairs, known = seen(cone=cone), baseline(upgrade())
    check(learner(kind, **options).refit(pairs, known), known, pairs.old)


def test_each_learner_learned_something_there():
    known = baseline(upgrade())
    calibration, back, forward = (learner(kind).refit(seen(), known) for kind in (OwnCalibration, OwnBack, OwnForward))
    assert (calibration.passes, back.passes, forward.passes) == (2, 1, 1)
    assert calibration.merge is not None
    assert back.query.map is not None
    assert forward.rewrites


def test_many_pairs_by_nystroem_features_too(monkeypatch):
    monkeypatch.setattr(regressions, "EXACT", 100)
    monkeypatch.setattr(regressions, "CENTRES", 40)
    pairs, known = seen(), baseline(upgrade())
    for kind in (OwnBack, OwnForward):
        serving = learner(kind).refit(pairs, known)
        found = serving.item or serving.query.map
        assert found is not None
        assert len(found.rest.centres) == 40
        check(serving, known, pairs.old)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", [OwnBack, OwnForward])
def test_a_transform_that_was_started_from_is_that_of_what_served_before(kind, world):
    def bent(old):
        return torch.sin(4 * old @ normal(DIM, DIM, seed=11))

    pairs = seen()
    if kind is OwnForward:
        pairs = SeenItems(pairs.old, pairs.migrated, F.normalize(bent(pairs.before), dim=1))
    prior = Prior(bent, lambda new: new @ rotation(DIM).T + 2 * torch.eye(DIM)[0])
    known = Baseline(upgrade().query_for_old, prior, 2)
    serving = learner(kind, world=world).refit(pairs, known)
    found = serving.item or serving.query.map
    assert found is not None
    assert found.start is None
    check(serving, known, pairs.old)
    with pytest.raises(InputError, match=r"^fit: damaged \(the \w+ starts from a transform, and the baseline has"):
        load(dump(serving), baseline(upgrade()))


def test_what_is_damaged_or_of_a_newer_version_is_refused_in_one_line():
    known = baseline(upgrade())
    content = dump(learner(OwnBack).refit(seen(), known))
    middle = bytearray(content)
    middle[len(content) // 2] ^= 1
    pickled = io.BytesIO()
    np.savez(pickled, header=np.array([print], dtype=object))
    for wrong in (b"", b"x" * 99, content[:-1], content[: len(content) // 2], bytes(middle), pickled.getvalue()):
        with pytest.raises(InputError, match=r"^fit: damaged \(.*\), expected a fit stored by a worker$"):
            load(wrong, known)
    newer = io.BytesIO()
    np.savez(newer, header=np.array(json.dumps({"version": VERSION + 1})))
    with pytest.raises(InputError, match=rf"^fit: version {VERSION + 1}, expected {VERSION} or before"):
        load(newer.getvalue(), known)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"query": lambda old, new: new}, "serves by function"),
        ({"rewrites": True}, "serves by Query"),
        ({"merge": ReciprocalRank()}, "merges by ReciprocalRank"),
    ],
)
def test_a_learner_whose_answers_cannot_be_stored_is_told_so(changes, found):
    serving = serve_baseline(seen(), baseline(upgrade()))._replace(**changes)
    with pytest.raises(InputError, match=rf"^learner: it {found}, expected"):
        dump(serving)
    check(learner(Learner).refit(seen(), baseline(upgrade())), baseline(upgrade()), seen().old)
