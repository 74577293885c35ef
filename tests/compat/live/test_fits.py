"""What a learner learned is what is stored: neither writes nor restarts change how queries are served."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from compat.errors import InputError
from compat.experience import Learner, OwnBack, OwnCalibration, OwnForward
from compat.experience.maps import Query
from compat.live import Item, Journal, Migration, Models, Rows, Searcher, Writer
from compat.live.serving import load_fit
from compat.live.sqlite.store import SqliteStore
from compat.live.store import Conflict
from compat.live.worker import Worker
from compat.methods import KernelGallery, Pair, Procrustes, Upgrade
from compat.models import Precomputed
from compat.orders import Random
from tests.helpers.pairs import normal, rotation

OLD, NEW, ITEMS, QUERIES = 8, 9, 200, 7
NAMES = [*(f"i{n}" for n in range(ITEMS)), *(f"q{n}" for n in range(QUERIES))]
LEARNERS = [
    (OwnCalibration, {}),
    *((OwnBack, {"world": world}) for world in ("rotation", "ridge", "neighbours", "gaussian")),
    *((OwnForward, {"world": world}) for world in ("rotation", "gaussian")),
]


def spaces(rows: int, seed: int = 0):
    """The new space, and the old one, which is its rotation in a cone."""
    hidden = F.normalize(normal(6, OLD, seed=3), dim=1)[torch.arange(rows) % 6] + 0.25 * normal(
        rows, OLD, seed=seed + 4
    )
    hidden = F.normalize(hidden, dim=1)
    old = F.normalize(hidden + 0.1 * normal(rows, OLD, seed=seed + 5) + 2 * torch.eye(OLD)[0], dim=1)
    return old, hidden @ rotation(NEW)[:OLD]


BEFORE, AFTER = spaces(len(NAMES))


def models(kind, base=Upgrade, **options) -> Models:
    upgrade = base(Precomputed(OLD), Precomputed(NEW))
    if base is not Upgrade:
        old, new = spaces(60, seed=20)
        upgrade.solve(Pair(old, new, torch.arange(60) % 6))
    learner = kind(Precomputed(OLD), Precomputed(NEW), **options)
    rows = Rows(NAMES, AFTER.numpy()), Rows(NAMES, BEFORE.numpy())
    return Models(*rows, upgrade, learner=learner, refit=(0.6,))


@pytest.fixture
def store(tmp_path):
    found = SqliteStore(tmp_path / "gallery.db")
    found.create(Journal(OLD, "cosine"))
    found.add(Item(name, name, {}, old=old) for name, old in zip(NAMES, BEFORE[:ITEMS].numpy(), strict=False))
    yield found
    found.close()


def run(store, its: Models, until: float = 0.65) -> None:
    if store.journal().phase == "none":
        Migration(store, its).plan(Random(), batch=16)
    Migration(store, its).run(until)


def answers(searcher):
    return [
        [(hit.id, hit.distance, hit.part) for hit in found] for found in searcher.search_many(NAMES[ITEMS:], 2 * ITEMS)
    ]


def written(store, its: Models) -> None:
    """Users delete a quarter of the pairs, and write a tenth anew."""
    writer, gallery = Writer(store, its), store.gallery(new=True)
    pairs = [id for id, new in zip(gallery.ids, gallery.new, strict=True) if np.isfinite(new).all()]
    for id in pairs[::4]:
        writer.delete(id)
    for id in pairs[1::10]:
        writer.put(id, NAMES[(NAMES.index(id) + 5) % ITEMS])


def forget(store) -> None:
    """As if a version without fits had made it."""
    with store.transaction() as cursor:
        cursor.execute("DELETE FROM fits")


@pytest.mark.parametrize("base", [Upgrade, Procrustes, KernelGallery])
@pytest.mark.parametrize(("kind", "options"), LEARNERS)
def test_searchers_of_before_and_after_what_users_wrote_answer_alike(store, monkeypatch, kind, options, base):
    its = models(kind, base, **options)
    run(store, its)
    searcher = Searcher(store, its)
    answers(searcher)
    written(store, its)
    monkeypatch.setattr(kind, "refit", None)
    monkeypatch.setattr(SqliteStore, "gallery", None)
    expected = answers(searcher)
    assert len(expected[0]) == store.counts().total < ITEMS
    assert answers(Searcher(store, its)) == expected
    restarted = SqliteStore(store.path)
    assert answers(Searcher(restarted, models(kind, base, **options))) == expected
    restarted.close()


def test_each_learner_learned_something_there(store):
    its = models(OwnBack)
    run(store, its)
    fit = load_fit(store, its, store.journal())
    assert fit is not None
    assert (fit.query.model, fit.passes, fit.item) == ("new", 1, None)
    assert fit.query.map is not None
    assert fit.merge is not None


def test_what_items_are_searched_by_is_what_the_fit_makes_of_them(store):
    its = models(OwnForward)
    run(store, its)
    journal, gallery = store.journal(), store.gallery(new=True)
    fit = load_fit(store, its, journal)
    assert journal.bridged
    assert fit is not None
    assert fit.item is not None
    expected = fit.item(torch.from_numpy(gallery.old.copy())).numpy()
    left = np.isnan(gallery.new).any(1).nonzero()[0]
    assert len(left) == ITEMS * 35 // 100
    assert all(np.array_equal(store.get(gallery.ids[n]).bridge, expected[n]) for n in left)


def test_a_store_without_its_fit_says_so_until_a_worker_has_learned_again(store):
    its = models(OwnBack)
    run(store, its)
    forget(store)
    with pytest.raises(InputError, match=r"^fit: none of migration 1 at 120 items, expected one stored by a worker"):
        answers(Searcher(store, its))
    for phase in ("running", "complete"):
        forget(store)
        store.amend(store.journal(), replace(store.journal(), phase=phase))
        run(store, its)
        assert store.journal().learned == 120
        found = answers(Searcher(store, its))
        assert len(found[0]) == ITEMS
    forget(store)
    Migration(store, its).rollback()
    assert len(answers(Searcher(store, its))[0]) == ITEMS


def test_of_two_workers_that_learn_at_once_the_first_one_s_fit_stays(store, monkeypatch):
    its = models(OwnBack)
    run(store, its)
    forget(store)
    late, amend = Worker(store, its), store.amend
    served: list[list] = []

    def overtaken(before, after, fit=None):
        if fit is not None and not served:
            served.append([])
            written(store, its)
            Worker(store, its).run(0.65)
            served.append(answers(Searcher(store, its)))
        amend(before, after, fit)

    monkeypatch.setattr(store, "amend", overtaken)
    late.run(0.65)
    assert answers(Searcher(store, its)) == served[1]


def test_a_searcher_that_looks_for_a_fit_when_the_next_migration_is_planned_looks_again(store, monkeypatch):
    its = models(OwnBack)
    run(store, its)
    searcher, fit, calls = Searcher(store, its), store.fit, []

    def late(journal):
        calls.append(journal.migration)
        if len(calls) == 1:
            Migration(store, its).rollback()
            Migration(store, its).plan(Random(), batch=16)
        return fit(journal)

    monkeypatch.setattr(store, "fit", late)
    assert {hit[2] for hit in answers(searcher)[0]} == {"old"}
    assert calls == [1]


class Own(Learner):
    """Serves by a function."""

    def refit(self, seen, known):
        return super().refit(seen, known)._replace(query=lambda old, new: old)


def test_a_learner_whose_answers_cannot_be_stored_is_told_so_and_nothing_changes(store):
    its = models(Own)
    with pytest.raises(InputError, match=r"^learner: it serves by function, expected maps"):
        run(store, its)
    assert store.journal().learned == 0
    assert len(answers(Searcher(store, its))[0]) == ITEMS


def test_the_old_path_is_stored_too(store):
    its = models(Learner)
    run(store, its)
    fit = load_fit(store, its, store.journal())
    assert fit == (Query("old"), None, None, 2)
    with pytest.raises(Conflict):
        store.amend(store.journal(), store.journal(), b"again")
