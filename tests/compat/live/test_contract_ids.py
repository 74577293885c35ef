"""Ids are text in every adapter: of another type they are refused, and nothing is written or found by them."""

from typing import Any, cast

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Writer
from tests.helpers.live_galleries import made, models
from tests.helpers.live_stores import item, new, report, running, vector

IDS = [7, np.int64(7), 7.0, b"i0", None]
STEPS = {
    "add": lambda store, id: store.add([item(0)._replace(id=id)]),
    "put": lambda store, id: store.put(item(0)._replace(id=id), store.journal()),
    "describe": lambda store, id: store.describe(id, {}),
    "delete": lambda store, id: store.delete(id),
    "get": lambda store, id: store.get(id),
    "fill": lambda store, id: store.fill("old", [(id, 1, vector(1))], store.journal()),
    "place": lambda store, id: store.place([id], store.journal(), store.journal()),
}


@pytest.mark.parametrize("step", STEPS)
def test_an_id_that_is_no_text(store, step):
    store.add([item(0), item(1)._replace(id="7")])
    before = store.journal(), store.get("i0"), store.get("7")
    for id in IDS:
        with pytest.raises(InputError, match=r"id: .* is \w+, expected text"):
            STEPS[step](store, id)
    assert store.counts().total == 2
    assert (store.journal(), *map(str, (store.get("i0"), store.get("7")))) == (before[0], *map(str, before[1:]))


@pytest.mark.parametrize("kind", ["done", "failed"])
def test_a_report_of_an_id_that_is_no_text(store, kind):
    running(store)
    told: dict[str, Any] = {"done": [(7, 1, new(7))], "failed": [(7, 1, "torn")]}
    with pytest.raises(InputError, match="id: 7 is int, expected text"):
        store.exchange(report(**{kind: told[kind]}), 0, 1.0)
    assert store.counts().new == store.counts().failed == 0


def test_writes_of_an_application(tmp_path):
    store = made(tmp_path / "gallery.db")
    total, number = store.counts().total, cast(Any, 7)
    writer = Writer(store, models())
    for step, field in (
        (lambda: writer.put(number, "c3"), "id"),
        (lambda: writer.put("new", number), "content"),
        (lambda: writer.describe(number, {}), "id"),
        (lambda: writer.delete(number), "id"),
    ):
        with pytest.raises(InputError, match=f"{field}: 7 is int, expected text"):
            step()
    assert store.counts().total == total
    store.close()
