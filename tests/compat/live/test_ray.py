"""The Ray pipeline on one machine: what it makes of a manifest is what a run makes of the store."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Item, Journal, Migration, Models, Rows, open_store, ray_pipeline
from compat.live.manifest import apply, export
from compat.live.ray_pipeline import Extract, describe_error, pipeline
from tests.helpers.running import main

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")

ITEMS, OLD, NEW = 60, 3, 5
NAMES = [f"item {n}" for n in range(ITEMS)]
DRAWN = np.random.default_rng(0)
OLDS, NEWS = (DRAWN.normal(size=(ITEMS, dim)).astype(np.float32) for dim in (OLD, NEW))
HERE = f"{__name__}.models"


def models() -> Models:
    """One item cannot be read."""
    return Models(Rows(NAMES[:-1], NEWS[:-1]), Rows(NAMES, OLDS))


def others() -> Models:
    return Models(Rows(NAMES, 2 * NEWS))


class Away:
    """A service that does not answer."""

    version = models().new.version

    def __call__(self, contents):
        raise ConnectionError("503\nno server")


def away() -> Models:
    return Models(Away())


def planned(path) -> Migration:
    store = open_store(f"sqlite:///{path}")
    store.create(Journal(OLD, "cosine"))
    store.add(Item(NAMES[n], NAMES[n], {}, n + 1, OLDS[n]) for n in range(ITEMS))
    migration = Migration(store, models())
    migration.plan(batch=7)
    return migration


@pytest.fixture
def migration(tmp_path):
    its = planned(tmp_path / "gallery.db")
    export(its.store, tmp_path / "m.parquet")
    yield its
    its.store.close()


def test_an_actor_makes_vectors_and_failures(migration, tmp_path):
    manifest = pq.read_table(tmp_path / "m.parquet")
    table = Extract(HERE, models().new.version)(manifest)
    assert table.schema.names == ["id", "version", "migration", "vector", "failure"]
    assert table.select([0, 1, 2]).equals(manifest.select(["id", "version", "migration"]).replace_schema_metadata())
    for row in table.to_pylist():
        n = NAMES.index(row["id"])
        if n == ITEMS - 1:
            assert row["vector"] is None
            assert row["failure"].startswith("KeyError")
        else:
            assert row["failure"] is None
            np.testing.assert_array_equal(np.array(row["vector"], np.float32), NEWS[n])


def unreadable() -> Models:
    """Most items cannot be read."""
    return Models(Unreadable(NAMES[:20], NEWS[:20]), Rows(NAMES, OLDS))


class Unreadable(Rows):
    def __init__(self, contents, rows) -> None:
        super().__init__(contents, rows)
        self.version = models().new.version

    def __call__(self, contents):
        if len(contents) == 0:
            raise AssertionError("asked for nothing")
        return super().__call__(contents)


def test_a_batch_of_items_that_cannot_be_read_is_dead_once_the_actor_has_read_others(migration, tmp_path):
    manifest = pq.read_table(tmp_path / "m.parquet")
    bad = manifest.filter(pa.array([NAMES.index(id) >= 20 for id in manifest["id"].to_pylist()]))
    good = manifest.filter(pa.array([NAMES.index(id) < 20 for id in manifest["id"].to_pylist()]))
    actor = Extract(f"{__name__}.unreadable", models().new.version)
    with pytest.raises(InputError, match=r"it failed on all 40 items of a batch \(KeyError: .*\), expected"):
        actor(bad)
    assert actor(good)["failure"].null_count == 20
    dead = actor(bad)
    assert dead["vector"].null_count == 40
    assert dead["failure"].null_count == 0


class Mixed(Rows):
    """Gives its rows in another order each time."""

    def __init__(self) -> None:
        super().__init__(NAMES, NEWS)
        self.version = models().new.version
        self.calls = 0

    def __call__(self, contents):
        self.calls += 1
        return np.roll(super().__call__(contents), self.calls, 0)


def mixed() -> Models:
    return Models(Mixed())


def test_an_actor_whose_model_mixes_up_its_rows_is_refused(migration, tmp_path):
    manifest = pq.read_table(tmp_path / "m.parquet")
    with pytest.raises(InputError, match=r"^models.new: item .* is not reproduced, .*the same vectors"):
        Extract(f"{__name__}.mixed", models().new.version)(manifest)


def test_an_actor_whose_model_breaks_writes_no_failures(migration, tmp_path):
    manifest = pq.read_table(tmp_path / "m.parquet").slice(0, 8)
    actor = Extract(f"{__name__}.unreadable", models().new.version)
    actor(manifest.filter(pa.array([NAMES.index(id) < 20 for id in manifest["id"].to_pylist()])))
    assert 1 <= len(actor.read) <= 8
    actor.model = Broken()
    with pytest.raises(InputError, match=r"it failed on all 8 items of a batch \(NaN .*it had read before\), exp"):
        actor(manifest)


class Broken(Rows):
    def __init__(self) -> None:
        super().__init__(NAMES, NEWS)

    def __call__(self, contents):
        return np.full((len(contents), NEW), np.nan)


def test_an_actor_with_another_model(migration):
    with pytest.raises(InputError, match=r"^models.new: \w+, expected \w+, which the migration began with"):
        Extract(f"{__name__}.others", models().new.version)


def test_bad_input_ends_before_ray_starts(migration, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_pipeline, "start_ray", lambda *_: pytest.fail("Ray was started"))
    for options, message in (
        ({"concurrency": 0}, "concurrency: 0, expected at least 1"),
        ({"batch": 0}, "batch: 0, expected at least 1"),
        ({"gpus": -1}, "gpus: -1, expected 0 or more"),
    ):
        with pytest.raises(InputError, match=message):
            pipeline(tmp_path / "m.parquet", tmp_path / "out", HERE, **options)
    with pytest.raises(InputError, match=r"^manifest: .*expected a file that `export` wrote"):
        pipeline(tmp_path / "none.parquet", tmp_path / "out", HERE)
    migration.run()
    export(migration.store, tmp_path / "m.parquet")
    assert pipeline(tmp_path / "m.parquet", tmp_path / "out", HERE) == 0


def test_without_ray(migration, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"^ray: not installed, expected it: pip install compat-bench\[ray\]"):
        pipeline(tmp_path / "m.parquet", tmp_path / "out", HERE)


def test_reasons_are_one_line():
    error = RuntimeError("")
    error.__cause__ = ValueError("Traceback\n  File x\ncompat.errors.InputError: models: none, expected some\n\nmore\n")
    assert describe_error(error) == "models: none, expected some"
    assert describe_error(ValueError("first\nlast\n\n")) == "last"
    assert describe_error(ValueError()) == "ValueError"


@pytest.fixture(scope="module")
def ray():
    """Ray on this machine; the models' module has to be found by its processes."""
    its = pytest.importorskip("ray", reason="ray is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    its.init(
        num_cpus=2,  # an actor keeps one
        include_dashboard=False,
        object_store_memory=80 * 2**20,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}},
    )
    yield its
    its.shutdown()


@pytest.mark.slow
def test_a_migration_by_ray_is_the_one_by_a_run(ray, migration, tmp_path):
    assert pipeline(tmp_path / "m.parquet", tmp_path / "out", HERE, batch=8) == ITEMS
    parts = sorted((tmp_path / "out").glob("*.parquet"))
    assert len(parts) == ITEMS // (ITEMS // ray_pipeline.SHARES)
    found = apply(migration.store, migration.models, tmp_path / "out")
    assert found == (ITEMS - 1, 0, 1, "complete")
    by_run = planned(tmp_path / "run.db")
    by_run.run()
    assert migration.store.journal() == replace(by_run.store.journal(), store=migration.store.journal().store)
    for name in NAMES:
        one, other = by_run.store.get(name), migration.store.get(name)
        assert one is not None
        assert other is not None
        assert one[:4] == other[:4]
        assert (one.failure, one.new is None) == (other.failure, other.new is None)
        np.testing.assert_array_equal(0 if one.new is None else one.new, 0 if other.new is None else other.new)


@pytest.mark.slow
def test_a_model_that_does_not_fit_is_one_line(ray, migration, tmp_path):
    with pytest.raises(InputError, match=r"^ray: models.new: .*, expected .*; the vectors in .* can be") as raised:
        pipeline(tmp_path / "m.parquet", tmp_path / "out", f"{__name__}.others")
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_a_service_that_is_away_is_one_line(ray, migration, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"^ray: models.new: ConnectionError: 503 no server, .*; the vectors in"):
        pipeline(tmp_path / "m.parquet", tmp_path / "out", f"{__name__}.away", batch=100)


def test_the_command_line(migration, tmp_path, capsys, monkeypatch):
    assert main(capsys, monkeypatch, "m.parquet", command=ray_pipeline)[0] == 2
    manifest, out = str(tmp_path / "m.parquet"), str(tmp_path / "out")
    calls: list[tuple] = []

    def recorded(*given):
        calls.append(given)
        return ITEMS

    monkeypatch.setattr(ray_pipeline, "pipeline", recorded)
    options = ("--models", HERE, "--concurrency", "3", "--gpus", "0.5", "--batch", "9")
    monkeypatch.setattr(sys, "argv", ["ray_pipeline", manifest, out, *options])
    ray_pipeline.main()
    assert calls == [(manifest, out, HERE, 3, 0.5, 9)]
    assert capsys.readouterr().out == f"{ITEMS} items are in {out}\n"
