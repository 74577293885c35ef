"""A store in each phase, with and without `dual` and a gallery written anew; what an operator may do there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np

from benchmarks.faults.oracle import DIMS, OLD, ContentOracle, Told
from benchmarks.faults.oracle import models as made_up
from compat.live import Item, Journal, Migration, Models, Searcher, Writer, open_store
from compat.live.items import UNDER_WAY, Phase
from compat.live.store import Store
from tests.helpers.live_stores import turned

ITEMS, BATCH = 8, 2
QUERIES = ("q0", "q1")
PHASES: tuple[Phase, ...] = (
    "none", "planned", "running", "paused", "complete", "verified", "finalized", "rolling_back", "rolled_back"
)  # fmt: skip
RUNS = ("planned", "running", "paused", "complete")
AFTER_RUN = ("running", "paused", "complete", "verified", "rolling_back")
WRITTEN = "written"  # id of the item that is written as soon as the migration runs


class Cell(NamedTuple):
    """Where a verb is called.

    Attributes:
        phase: of the store.
        dual: whether its migration was planned so.
        bridge: whether its gallery is written anew when the backfilling starts.
        given: models of the caller: "both" of the migration, those without the "old" one, those of the "next"
            migration, or others.
    """

    phase: Phase
    dual: bool
    bridge: bool
    given: str

    @property
    def models(self) -> Models:
        both = made_up(self.bridge)
        return {
            "both": both,
            "no old": replace(both, old=None),
            "next": made_up(old="new", new="next"),
            "others": replace(both, new=Told("other")),
        }[self.given]


def item(id: str) -> Item:
    """One that is there before any migration."""
    return Item(id, id, {"lang": "en"}, old=Told("old").row(id))


@cache
def made(phase: Phase, dual: bool, bridge: bool) -> Path:
    """A file with a store in a phase, which nobody has open."""
    folder = Path(mkdtemp())
    store = open_store(f"sqlite:///{folder}/gallery.db")
    store.create(Journal(OLD, "cosine", ("lang",)))
    store.add(item(f"i{n}") for n in range(ITEMS))
    if phase != "none":
        bring(store, phase, dual, bridge)
    store.close()
    return folder / "gallery.db"


def bring(store: Store, phase: Phase, dual: bool, bridge: bool) -> None:
    """A store to a phase, by what an operator does."""
    models = made_up(bridge)
    migration = Migration(store, models)
    migration.plan(seed=1, batch=BATCH, dual=dual)
    if phase == "planned":
        return
    migration.run(0.5)
    Writer(store, models).put(WRITTEN, WRITTEN, {"lang": "en"})
    if phase in ("complete", "verified", "finalized"):
        migration.run()
    if phase in ("verified", "finalized"):
        migration.verify()
    if phase == "finalized":
        migration.finalize()
    elif phase == "rolled_back":
        migration.rollback()
    elif phase in ("paused", "rolling_back"):
        turned(store, phase=phase)


def opened(cell: Cell, folder: Path) -> Store:
    """A store of its own for a cell."""
    path = folder / "gallery.db"
    shutil.copyfile(made(cell.phase, cell.dual, cell.bridge), path)
    return open_store(f"sqlite:///{path}")


def ids_of(cell: Cell) -> list[str]:
    """Items of its store."""
    return [f"i{n}" for n in range(ITEMS)] + [WRITTEN] * (cell.phase not in ("none", "planned"))


def state(store: Store, ids: list[str]) -> Any:
    """All that is known of a store but for beats."""
    held = [store.get(id) for id in ids]
    plain = [[v.tolist() if isinstance(v, np.ndarray) else v for v in one] if one else None for one in held]
    return store.journal(), plain, store.counts()


def wrong(store: Store, cell: Cell, contents: dict[str, str], planned_next: bool = False) -> list[str]:
    """What is wrong with a store that has to hold items of these contents, by id."""
    names = ("new", "next") if planned_next else ("old", "new")
    oracle = ContentOracle(QUERIES, cell.bridge and not planned_next, *names)
    models = made_up(old="new", new="next") if planned_next else made_up(cell.bridge)
    phase, counts, found = store.journal().phase, store.counts(), []
    if counts.total != len(contents) or counts.new + counts.pending + counts.failed != counts.total or counts.unserved:
        found.append(f"{counts} of {len(contents)} items")
    for id, content in contents.items():
        held = store.get(id)
        if held is None or held.content != content:
            found.append(f"{id} holds {held and held.content}, expected {content}")
            continue
        for name, vector in (("old", held.old), ("new", held.new)):
            expected = getattr(oracle, name)(content)
            if vector is not None and not np.array_equal(vector, expected):
                found.append(f"{id} has another {name} embedding")
    searcher = Searcher(store, models)
    for query, text in enumerate(QUERIES):
        hits = searcher.search(text, len(contents) + 5)
        if sorted(hit.id for hit in hits) != sorted(contents):
            found.append(f"{[hit.id for hit in hits]} are found, expected {sorted(contents)}")
            continue
        for hit in hits:
            part = hit.part if phase in AFTER_RUN or hit.part == "new" else "before"
            if abs(oracle.distance(query, contents[hit.id], part) - hit.distance) > 1e-6:
                found.append(f"{hit.id} is at {hit.distance} in {phase}, {hit.part}")
    return found


def expected(verb: str, cell: Cell) -> str:
    """What README says of a verb there: the phase that the store has afterwards, or "" where it is refused."""
    same = cell.phase
    mine = cell.given in ("both", "no old")
    if verb in ("describe", "delete", "throttle", "retry", "status", "history", "backup"):
        return same
    if verb == "add":
        return same if same in ("none", "planned", "rolled_back") else ""
    if verb == "pause":
        return "paused" if same == "running" else ""
    if verb == "resume":
        return "running" if same == "paused" else ""
    if verb == "export":
        return same if same in RUNS else ""
    if verb in ("put", "put new"):
        return same if writes(cell) else ""
    if verb == "check":
        return same if checks(cell) else ""
    if verb == "search":
        return same if answers(cell) else ""
    if verb in ("plan", "plan dual"):
        return "planned" if plans(cell, dual=verb == "plan dual") else ""
    if verb in ("run", "apply"):
        return "complete" if same in RUNS and mine else ""
    if verb == "verify":
        return "verified" if same in ("complete", "verified") and mine else ""
    if verb == "finalize":
        return "finalized" if same == "verified" and mine else ""
    assert verb == "rollback"
    rootless = same in AFTER_RUN and not cell.dual  # what was written meanwhile has no old embedding
    back = same in UNDER_WAY and mine and not (rootless and cell.given == "no old")
    return "rolled_back" if back else ""


def writes(cell: Cell) -> bool:
    """Whether the models are those that the phase calls for."""
    if cell.phase in ("none", "rolled_back"):
        return cell.given in ("both", "others")  # only the old one is asked
    if cell.phase == "finalized":
        return cell.given != "others"
    needs_old = cell.phase in ("planned", "rolling_back") or cell.dual
    return cell.given == "both" or (cell.given == "no old" and not needs_old)


def answers(cell: Cell) -> bool:
    """Whether the models are those that queries go through."""
    if cell.phase in ("none", "planned", "rolled_back"):
        return cell.given in ("both", "others")
    if cell.phase == "finalized":
        return cell.given != "others"
    return cell.given == "both" or (cell.given == "no old" and cell.bridge)


def checks(cell: Cell) -> bool:
    """Whether the models are those that items were embedded by and are found by, as far as they are at hand."""
    if cell.phase in ("none", "rolled_back"):
        return cell.phase == "rolled_back" or cell.given != "next"  # whose old model is of another dimension
    return cell.given in ("both", "no old") if cell.phase == "planned" else answers(cell)


def plans(cell: Cell, dual: bool) -> bool:
    """Whether a migration may be planned with these models."""
    if dual and cell.given == "no old":
        return False
    if cell.phase in ("none", "rolled_back"):
        return cell.given != "next"
    if cell.phase == "finalized":
        return cell.given == "next" or (cell.given == "no old" and not cell.bridge)
    return False


Act = Callable[[Store, Cell, Path], object]


def vectors(store: Store, path: Path) -> Path:
    """A file of what another engine makes of all that is pending."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from compat.live.vectors import migration_stamp

    pending = store.pending(100)
    model = Told("new")
    table = {
        "id": pa.array([p.id for p in pending], pa.string()),
        "version": pa.array([p.version for p in pending], pa.int64()),
        "migration": pa.array([migration_stamp(store.journal())] * len(pending), pa.string()),
        "vector": pa.array([model.row(p.content).tolist() for p in pending], pa.list_(pa.float32(), DIMS["new"])),
    }
    pq.write_table(pa.table(table), path)
    return path
