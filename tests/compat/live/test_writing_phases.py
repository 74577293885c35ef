"""Writes in each phase, with both embeddings or one, by models that are there or not."""

from dataclasses import replace

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Migration, Rows, Searcher, Writer
from compat.live.items import Phase
from compat.live.store import change_journal
from tests.helpers.live_galleries import ITEMS, NEW, made, matrices, models

BEFORE: tuple[Phase, ...] = ("none", "planned", "rolled_back")
RUNS: tuple[Phase, ...] = ("running", "paused", "complete", "verified")
PHASES: tuple[Phase, ...] = (*BEFORE, *RUNS, "rolling_back", "finalized")


def following():
    """The models of the next upgrade."""
    contents, _, new = matrices()
    third = np.random.default_rng(3).normal(size=(len(contents), 3)).astype(np.float32)
    return models(old=Rows(contents, new), new=Rows(contents, third))


MODELS = {"both": models, "without the old": lambda: models(old=None), "the next upgrade's": following}


def brought(store, phase: Phase, dual: bool) -> None:
    """Bring a store to a phase."""
    migration = Migration(store, models())
    if phase == "none":
        return
    migration.plan(batch=8, dual=dual)
    if phase == "planned":
        return
    migration.run(1.0 if phase in ("complete", "verified", "finalized") else 0.5)
    if phase in ("verified", "finalized"):
        assert migration.verify().sound
    if phase == "finalized":
        migration.finalize()
    if phase == "rolled_back":
        migration.rollback()
    if phase in ("paused", "rolling_back"):
        change_journal(store, lambda journal: replace(journal, phase=phase))
    assert store.journal().phase == phase


def expected(phase: Phase, dual: bool, given: str) -> set[str] | str:
    """Which embeddings a write makes, or the field that its refusal names."""
    if phase == "finalized":
        return {"new"}
    if given == "the next upgrade's":
        return "models.old" if phase in BEFORE and phase != "planned" else "models.new"
    if phase in BEFORE:
        return {"old"} if given == "both" else "models.old"
    if phase == "rolling_back" or dual:
        return {"old", "new"} if given == "both" else "models.old"
    return {"new"}


@pytest.mark.parametrize("given", MODELS)
@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("phase", PHASES)
def test_a_write_makes_what_its_phase_needs_and_is_found_or_is_refused_by_name(phase, dual, given, tmp_path):
    store = made(tmp_path / "gallery.db")
    brought(store, phase, dual)
    its, outcome = MODELS[given](), expected(phase, dual, given)
    if isinstance(outcome, str):
        with pytest.raises(InputError, match=rf"^{outcome}: [^\n]*, expected [^\n]*$"):
            Writer(store, its).put("x", "query 3")
        assert store.get("x") is None
    else:
        Writer(store, its).put("x", "query 3")
        item, (_, old, new) = store.get("x"), matrices()
        assert {name for name in ("old", "new") if getattr(item, name) is not None} == outcome
        for name, rows in (("old", old), ("new", new)):
            if name in outcome:
                np.testing.assert_array_equal(getattr(item, name), rows[ITEMS + 3])
        assert Searcher(store, models()).search("query 3", 1)[0][:2] == ("x", 0.0)
    store.close()


def test_a_store_that_was_finalized_with_dual_by_an_earlier_version_takes_writes(tmp_path):
    store = made(tmp_path / "gallery.db")
    brought(store, "finalized", dual=True)
    assert not store.journal().dual
    change_journal(store, lambda journal: replace(journal, dual=True))
    for its in (models(), models(old=None), following()):
        assert getattr(Writer(store, its).put("x", "query 3").new, "shape", None) == (NEW,)
    store.close()
