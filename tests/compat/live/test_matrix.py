"""Each verb in each phase, with and without `dual` and a gallery written anew, with the models that one may have."""

from collections.abc import Callable
from typing import Any

import pytest

import compat.live.sqlite.file
from compat.errors import InputError
from compat.live import Migration, Searcher, Writer, control
from compat.live.invariants import check
from compat.live.manifest import apply, export
from tests.helpers.live_cells import BATCH, PHASES, QUERIES, Cell, expected, ids_of, item, opened, state, vectors, wrong

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

VERBS: dict[str, Callable[..., Any]] = {
    "put": lambda store, models, path: Writer(store, models).put("i0", "again", {"lang": "de"}),
    "put new": lambda store, models, path: Writer(store, models).put("added", "added", {"lang": "de"}),
    "describe": lambda store, models, path: Writer(store, models).describe("i1", {"lang": "de"}),
    "delete": lambda store, models, path: Writer(store, models).delete("i2"),
    "add": lambda store, models, path: store.add([item("added")]),
    "search": lambda store, models, path: Searcher(store, models).search(QUERIES[0]),
    "plan": lambda store, models, path: Migration(store, models).plan(batch=BATCH),
    "plan dual": lambda store, models, path: Migration(store, models).plan(batch=BATCH, dual=True),
    "run": lambda store, models, path: Migration(store, models).run(),
    "verify": lambda store, models, path: Migration(store, models).verify(),
    "finalize": lambda store, models, path: Migration(store, models).finalize(),
    "rollback": lambda store, models, path: Migration(store, models).rollback(),
    "pause": lambda store, models, path: control.pause(store),
    "resume": lambda store, models, path: control.resume(store),
    "throttle": lambda store, models, path: control.throttle(store, rate=1e9),
    "retry": lambda store, models, path: store.retry(),
    "status": lambda store, models, path: control.status(store),
    "history": lambda store, models, path: store.history(10),
    "backup": lambda store, models, path: store.backup(path / "copy.db"),
    "check": lambda store, models, path: check(store, models),
    "export": lambda store, models, path: export(store, path / "manifest.parquet"),
    "apply": lambda store, models, path: apply(store, models, vectors(store, path / "vectors.parquet")),
}
CHANGED = {"put": {"i0": "again"}, "put new": {"added": "added"}, "add": {"added": "added"}}
WITHOUT_MODELS = {
    "describe", "delete", "add", "pause", "resume", "throttle", "retry", "status", "history", "backup", "export"
}  # fmt: skip


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    """Nothing here waits for the disk."""
    honest = compat.live.sqlite.file.connect

    def connect(*arguments, **options):
        base = honest(*arguments, **options)
        base.execute("PRAGMA synchronous = OFF")
        return base

    monkeypatch.setattr(compat.live.sqlite.file, "connect", connect)


def judged(verb: str, cell: Cell, folder) -> list[str]:
    """What is wrong with what a verb does in a cell."""
    store, target = opened(cell, folder), expected(verb, cell)
    before = state(store, [*ids_of(cell), "added"])
    try:
        done, refused = VERBS[verb](store, cell.models, folder), ""
        if verb == "check" and (done.drifted or done.misplaced or done.recall not in (None, 1.0)):
            return [f"what is sound is found to be {done}"]
    except InputError as error:
        refused = str(error)
        if "\n" in refused or ", expected " not in refused:
            return [f"refused by {refused!r}, expected one line that says what was expected"]
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    try:
        if refused and target:
            return [f"refused ({refused}), expected {target}"]
        if not refused and not target:
            return ["taken, expected a refusal"]
        if refused:
            return [] if state(store, [*ids_of(cell), "added"]) == before else ["refused, and changed the store"]
        contents = {id: id for id in ids_of(cell) if (verb, id) != ("delete", "i2")} | CHANGED.get(verb, {})
        if (phase := store.journal().phase) != target:
            return [f"the store is {phase}, expected {target}"]
        following = cell.phase == "finalized" and verb.startswith("plan") and cell.given == "next"
        if cell.phase == "finalized" and verb.startswith("plan") and not following:
            return []  # from the new model to itself
        return wrong(store, cell, contents, following)
    finally:
        store.close()


@pytest.mark.parametrize("given", ["both", "no old", "next", "others"])
@pytest.mark.parametrize("bridge", [False, True], ids=["", "bridge"])
@pytest.mark.parametrize("dual", [False, True], ids=["", "dual"])
@pytest.mark.parametrize("phase", PHASES)
def test_each_verb_does_what_it_says_or_is_refused_in_one_line(tmp_path, phase, dual, bridge, given):
    cell, found = Cell(phase, dual, bridge, given), {}
    for verb in VERBS if given == "both" else VERBS.keys() - WITHOUT_MODELS:
        folder = tmp_path / verb.replace(" ", "-")
        folder.mkdir()
        if its := judged(verb, cell, folder):
            found[verb] = its
    assert not found
