"""Queries and writes in every phase of a migration."""

from typing import Any

import numpy as np
import pytest
import torch

from compat.engine.exact import distances
from compat.errors import InputError
from compat.live import Migration, Rows, Searcher, Writer
from compat.live.items import Candidates
from compat.live.searcher import merge_hits
from compat.live.sqlite.indexes import load
from compat.merge import Raw, ReciprocalRank
from tests.compat.live.test_models import rqt, z_score
from tests.helpers.live_galleries import ITEMS, made, matrices, models


@pytest.fixture
def store(tmp_path):
    store = made(tmp_path / "gallery.db")
    yield store
    store.close()


def of_part(store, part):
    return {f"i{n}" for n in range(ITEMS) if (store.get(f"i{n}").new is None) == (part == "old")}


@pytest.mark.parametrize("rule", ["raw", "z_score", "rank"])
def test_both_parts_are_merged_by_the_rule(store, rule):
    merge = {"raw": Raw(), "z_score": z_score(1.0), "rank": ReciprocalRank()}[rule]
    its = models(merge=merge)
    migration = Migration(store, its)
    migration.plan()
    migration.run(0.4)
    contents, old, new = matrices()
    migrated = np.array([f"i{n}" in of_part(store, "new") for n in range(ITEMS)])
    assert migrated.sum() == 16
    query = ITEMS + 2
    apart = [
        distances(torch.from_numpy(m[query : query + 1]), torch.from_numpy(m[:ITEMS]))[0].numpy() for m in (old, new)
    ]
    if merge.scales is not None:
        apart = [scale(d) for scale, d in zip(merge.scales, apart, strict=True)]
    elif rule == "rank":
        apart = [
            np.array([1 + (d[part] < value).sum() for value in d])
            for d, part in zip(apart, (~migrated, migrated), strict=True)
        ]
    expected = np.where(migrated, apart[1], apart[0])
    hits = Searcher(store, its).search(contents[query], ITEMS)
    assert [hit.distance for hit in hits] == pytest.approx(np.sort(expected).tolist())
    assert all(hit.distance == pytest.approx(expected[int(hit.id[1:])]) for hit in hits)
    assert [hit.id for hit in Searcher(store, its).search(contents[query], 7)] == [hit.id for hit in hits[:7]]


def test_a_query_goes_through_the_models_that_are_needed(store):
    seen = []

    class Noted:
        def __init__(self, model, name):
            self.model, self.name, self.version = model, name, model.version

        def __call__(self, contents):
            seen.append(self.name)
            return self.model(contents)

    its = models(upgrade=rqt())
    its = models(upgrade=rqt(), old=Noted(its.old, "old"), new=Noted(its.new, "new"))
    migration = Migration(store, its)
    searcher = Searcher(store, its)
    searcher.search("query 0")
    assert seen == ["old"]
    migration.plan()
    migration.run(0.5)
    seen.clear()
    searcher.search("query 0")
    assert seen == ["new"]
    migration.run()
    migration.verify()
    migration.finalize()
    seen.clear()
    searcher.search("query 0")
    assert seen == ["new"]


def test_filters_hold_on_both_parts(store):
    its = models()
    migration = Migration(store, its)
    migration.plan()
    migration.run(0.5)
    searcher = Searcher(store, its)
    hits = searcher.search("query 1", ITEMS, {"red": True, "size": 1})
    assert {hit.id for hit in hits} == {f"i{n}" for n in range(ITEMS) if n % 2 == 0 and n % 3 == 1}
    assert {hit.part for hit in hits} == {"old", "new"}
    assert searcher.search("query 1", 5, {"size": "1' OR 1=1 --"}) == []
    with pytest.raises(InputError, match="where: 'colour', expected red, size"):
        searcher.search("query 1", 5, {"colour": "red"})
    with pytest.raises(InputError, match="where"):
        searcher.search("query 1", 5, {"red') OR 1=1 --": "red"})
    with pytest.raises(InputError, match=r"where: '\\udc80' of red is not UTF-8, expected text"):
        searcher.search("query 1", 5, {"red": "\udc80"})
    with pytest.raises(InputError, match="k: 0"):
        searcher.search("query 1", 0)


def test_k_may_be_one_of_numpy(store):
    searcher = Searcher(store, models())
    three: Any = np.int64(3)
    assert searcher.search("query 0", k=three) == searcher.search("query 0", k=3)


def test_queries_that_no_model_reads_are_refused(store):
    searcher = Searcher(store, models())
    with pytest.raises(InputError, match=r"content: KeyError: 'nothing', expected queries which the old model reads"):
        searcher.search("nothing")
    with pytest.raises(InputError, match=r"models.old: none, expected one, as the store is in phase none"):
        Searcher(store, models(old=None)).search("query 0")


def test_what_is_written_has_the_embeddings_of_its_phase(store):
    its = models()
    migration, writer = Migration(store, its), Writer(store, its)

    def written():
        item = writer.put("i0", "query 3", {"red": False})
        found = store.get("i0")
        assert (found.version, dict(found.meta)) == (item.version, {"red": False})
        return found.old is not None, found.new is not None

    assert written() == (True, False)
    migration.plan()
    assert written() == (True, False)
    migration.run(0.5)
    assert written() == (False, True)
    migration.run()
    assert written() == (False, True)
    migration.verify()
    migration.finalize()
    assert written() == (False, True)
    np.testing.assert_array_equal(store.get("i0").new, matrices()[2][ITEMS + 3])
    with pytest.raises(InputError, match=r"content: 'nothing' \(KeyError: 'nothing'\), expected one"):
        writer.put("i0", "nothing")
    assert store.get("i0").content == "query 3"
    assert writer.describe("i0", {"red": True})
    assert not writer.describe("x", {})
    assert writer.delete("i0")
    assert not writer.delete("i0")


def test_a_write_in_between_is_searched_at_once_by_another_process_s_searcher(store, tmp_path):
    from compat.live import open_store

    its = models()
    Migration(store, its).plan()
    Migration(store, its).run(0.5)
    other = open_store(f"sqlite:///{tmp_path / 'gallery.db'}")
    searcher = Searcher(other, its)
    assert searcher.search("query 4", 1)[0].distance > 1e-3
    Writer(store, its).put("mine", "query 4")
    assert searcher.search("query 4", 1)[0][:2] == ("mine", 0.0)
    Writer(store, its).delete("mine")
    assert searcher.search("query 4", 1)[0].id != "mine"
    other.close()


def test_an_item_found_in_both_parts_counts_as_migrated():
    ones = np.ones((1, 2), np.float32)
    found = {"old": (ones, Candidates(["a", "b"], [{}, {}], np.eye(2, dtype=np.float32), np.array([[0, 1]])))}
    found["new"] = (ones, Candidates(["b"], [{}], -ones, np.array([[0]])))
    hits = merge_hits(found, 0, None, "cosine", 5)
    assert [(hit.id, hit.part) for hit in hits] == [("a", "old"), ("b", "new")]


def test_a_warm_searcher_loads_nothing_for_its_first_query(store, monkeypatch):
    its, contents = models(), matrices()[0]
    migration, loads = Migration(store, its), []

    def counted(*args):
        loads.append(args[1])
        return load(*args)

    monkeypatch.setattr("compat.live.sqlite.indexes.load", counted)
    for step in (lambda: None, lambda: (migration.plan(), migration.run(0.4)), lambda: migration.run(1.0)):
        step()
        store.indexes.close()
        searcher = Searcher(store, its)
        searcher.warm()
        warm = list(loads)
        searcher.warm(contents[ITEMS : ITEMS + 1])
        assert len(searcher.search(contents[ITEMS], 5)) == 5
        assert loads == warm
    assert loads == ["old", "old", "new", "old", "new"]


@pytest.mark.parametrize("k", [2.5, "3", None, [3], np.float32(3), 0, -1])
def test_k_that_is_no_number_of_items_is_one_line(store, k):
    with pytest.raises(InputError, match=r"^k: [^\n]*, expected (a whole number|at least 1)$"):
        Searcher(store, models()).search("query 0", k=k)


@pytest.mark.parametrize("share", [None, 0.0, 0.5, 1.0])
def test_a_model_of_another_dimension_is_one_line(store, share):
    contents, old, new = matrices()
    if share is not None:
        Migration(store, models()).plan()
    if share:
        Migration(store, models()).run(share)
    wrong = {"old": Rows(contents, old[:, 1:]), "new": Rows(contents, new[:, 1:])}
    for name, model in wrong.items():
        model.version = getattr(models(), name).version
        if (name == "old") == (not share):
            with pytest.raises(InputError, match=rf"^models.{name}: shape \(1, \d\), expected \(1, \d\)$"):
                Searcher(store, models(**{name: model})).search("query 0")


def test_a_service_that_is_away_is_a_connection_error_whatever_its_library_raises(store):
    class Away:
        version = Rows(*matrices()[:2]).version

        def __call__(self, contents):
            raise type("ReadTimeout", (Exception,), {"__module__": "httpx"})("slow")

    with pytest.raises(ConnectionError, match=r"^models.old: ReadTimeout: slow, expected a model which answers$"):
        Searcher(store, models(old=Away())).search("query 0")
