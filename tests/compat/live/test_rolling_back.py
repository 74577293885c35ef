"""While a migration is rolled back, in whatever phase, queries are answered as before."""

from typing import Any

import pytest

from compat.errors import InputError
from compat.live import Migration, Writer
from compat.live.items import UNDER_WAY
from tests.helpers.live_cells import WRITTEN, Cell, ids_of, opened, wrong


@pytest.mark.parametrize("bridge", [False, True], ids=["", "bridge"])
@pytest.mark.parametrize("phase", UNDER_WAY)
def test_queries_are_right_until_it_is_done(tmp_path, monkeypatch, phase, bridge):
    cell = Cell(phase, False, bridge, "both")
    store, found, contents = opened(cell, tmp_path), [], {id: id for id in ids_of(cell)}

    def looked(*arguments):
        found.append(wrong(store, cell, contents))
        return honest(*arguments)

    honest = store.revert
    monkeypatch.setattr(store, "revert", looked)
    Migration(store, cell.models).rollback()
    assert found == [[]]
    assert wrong(store, cell, contents) == []
    assert store.journal().phase == "rolled_back"
    store.close()


def test_an_item_that_is_written_meanwhile_and_cannot_be_embedded_again_is_one_line(tmp_path, monkeypatch):
    cell = Cell("running", True, False, "both")  # items have both embeddings
    store: Any = opened(cell, tmp_path)
    without = Cell("running", True, False, "no old").models
    changed = honest = store.amend

    def amend(*arguments):
        monkeypatch.setattr(store, "amend", honest)
        with store.transaction() as cursor:  # as by a process that writes no old embedding
            (row,) = cursor.execute("SELECT row FROM items WHERE id = ?", (WRITTEN,)).fetchone()
            cursor.execute("DELETE FROM vectors_0 WHERE row = ?", (row,))
            cursor.execute("INSERT INTO lacking_0 VALUES (?, -1, NULL)", (row,))
        return changed(*arguments)

    monkeypatch.setattr(store, "amend", amend)
    with pytest.raises(InputError, match=f"item '{WRITTEN}' has no old embedding, expected models.old"):
        Migration(store, without).rollback()
    assert store.journal().phase == "rolling_back"
    Migration(store, cell.models).rollback()
    assert Writer(store, cell.models).delete(WRITTEN)
    store.close()
