"""What every adapter promises of what learners learned: it is stored with the journal that says so, once."""

from dataclasses import replace

import numpy as np
import pytest

from compat.live.store import Conflict
from tests.helpers.live_stores import running

LARGE = np.random.default_rng(0).bytes(2**21 + 1)


@pytest.mark.parametrize("content", [b"", b"a fit", LARGE], ids=["empty", "small", "large"])
def test_a_fit_is_stored_with_the_journal_that_says_so(store, opened, content):
    running(store, 6)
    before = store.journal()
    after = replace(before, learned=3)
    assert store.fit(before) is store.fit(after) is None
    store.amend(before, after, content)
    assert store.journal() == after
    assert store.fit(after) == opened().fit(after) == content
    assert store.fit(before) is None
    store.amend(after, replace(after, rate=2.0))
    assert store.fit(store.journal()) == content


def test_a_fit_that_comes_too_late_is_not_stored(store, opened):
    running(store, 6)
    before = store.journal()
    first, second = replace(before, learned=3), replace(before, learned=5)
    store.amend(before, first, b"first")
    for late in (first, second):
        with pytest.raises(Conflict):
            opened().amend(before, late, b"late")
    assert (store.fit(first), store.fit(second)) == (b"first", None)
    with pytest.raises(Conflict):
        opened().amend(first, first, b"again")
    assert store.fit(first) == b"first"
    store.amend(first, second, b"second")
    assert (store.fit(first), store.fit(second)) == (b"first", b"second")


def test_fits_are_kept_until_the_next_migration_is_planned(store):
    running(store, 6)
    before = store.journal()
    learned = replace(before, learned=3)
    store.amend(before, learned, b"first")
    ended = replace(learned, phase="rolled_back", learned=0)
    store.revert(learned, ended)
    assert store.fit(learned) == b"first"
    planned = replace(ended, phase="planned", migration=2)
    store.place([f"i{n}" for n in range(6)], ended, planned)
    again = replace(planned, phase="running", learned=3)
    assert store.fit(learned) is store.fit(again) is None
    store.amend(planned, again, b"second")
    assert (store.fit(learned), store.fit(again)) == (None, b"second")
