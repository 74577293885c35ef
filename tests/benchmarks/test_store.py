"""Artifacts are made once, never read from a file that has changed, and found by all that they depend on."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from filelock import FileLock

from benchmarks.artifacts.artifact import Artifact, graph, identity, inputs, key
from benchmarks.artifacts.store import ArtifactStore, StoreError, read_record
from benchmarks.config.spec import Spec
from compat.errors import InputError

CALLS: list[str] = []


@dataclass(frozen=True)
class Value(Artifact):
    """Counts how often it is made."""

    stage: ClassVar[str] = "value"
    maker: ClassVar[str] = "tests.benchmarks.test_store.make"
    number: int
    on: "Value | None" = None
    name: str = field(default="", compare=False)


def make(artifact, store, folder):
    CALLS.append(artifact.label)
    if artifact.number < 0:
        raise ValueError("negative")
    below = store.get(artifact.on)["value"] if artifact.on else torch.zeros(100)
    return {"value": below + artifact.number, "count": torch.tensor(len(CALLS))}


@pytest.fixture(autouse=True)
def _calls():
    CALLS.clear()


def test_an_artifact_is_made_once_and_after_what_it_is_made_of(tmp_path):
    low = Value(1, name="low")
    high = Value(2, low, "high")
    assert ArtifactStore(tmp_path).get(high)["value"].tolist() == [3.0] * 100
    assert CALLS == ["value low", "value high"]
    again = ArtifactStore(tmp_path)
    assert torch.equal(again.get(high)["value"], torch.full((100,), 3.0))
    assert CALLS == ["value low", "value high"]
    assert (list(inputs(high)), graph(high)) == ([low], [low, high])
    record = again.record(high)
    assert record is not None
    assert record["label"] == "value high"
    assert {"git_commit", "versions", "hardware", "threads", "date"} <= record["made"].keys()
    assert record["seconds"] >= 0


def test_what_is_shown_is_no_part_of_the_key():
    assert key(Value(1, name="a")) == key(Value(1, name="b"))
    assert key(Value(1)) != key(Value(2))
    assert key(Value(1, Value(1))) != key(Value(1, Value(2)))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def alter(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [truncate, alter])
@pytest.mark.parametrize("name", ["tensors.safetensors", "record.json"])
def test_a_damaged_artifact_is_made_again(tmp_path, harm, name):
    ArtifactStore(tmp_path).get(Value(1))
    (file,) = tmp_path.glob(f"*/{name}")
    harm(file)
    if name == "record.json" and harm is alter:
        file.write_text("{" + file.read_text())
    with pytest.warns(UserWarning, match="damaged"):
        assert ArtifactStore(tmp_path).get(Value(1))["count"] == 2
    assert ArtifactStore(tmp_path).get(Value(1))["count"] == 2


@pytest.mark.parametrize("pattern", ["*/tensors.safetensors", "*/record.json", "*"])
def test_an_artifact_that_was_deleted_is_made_again(tmp_path, pattern):
    ArtifactStore(tmp_path).get(Value(1))
    for path in tmp_path.glob(pattern):
        if path.is_dir():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        elif path.suffix != ".lock":
            path.unlink()
    if pattern == "*/tensors.safetensors":
        with pytest.warns(UserWarning, match="damaged"):
            assert ArtifactStore(tmp_path).get(Value(1))["count"] == 2
    else:
        assert ArtifactStore(tmp_path).get(Value(1))["count"] == 2


def test_a_failure_is_remembered_and_makes_nothing_else_fail(tmp_path):
    store = ArtifactStore(tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match="negative"):
            store.get(Value(-1))
    assert CALLS == ["value"]
    assert store.get(Value(1))["count"] == 2


def test_a_lock_of_a_killed_process_keeps_nobody_waiting(tmp_path):
    """The lock's file stays; the kernel has freed the lock itself."""
    code = (
        f"import os, signal; from filelock import FileLock; FileLock({str(tmp_path / 'value.lock')!r}).acquire();"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    lock = ArtifactStore(tmp_path).folder_of(Value(1)).with_suffix(".lock")
    (tmp_path / "value.lock").rename(lock)
    assert lock.exists()
    assert ArtifactStore(tmp_path).get(Value(1))["count"] == 1


def test_one_who_waited_takes_what_the_other_made(tmp_path, monkeypatch):
    folder = ArtifactStore(tmp_path).folder_of(Value(1))
    original = FileLock.acquire

    def acquire(self, *arguments, **options):
        if self.lock_file == f"{folder}.lock":
            monkeypatch.undo()
            ArtifactStore(tmp_path).get(Value(1))  # another process makes it while this one waits
        return original(self, *arguments, **options)

    monkeypatch.setattr(FileLock, "acquire", acquire)
    assert ArtifactStore(tmp_path).get(Value(1))["count"] == 1
    assert len(CALLS) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_one_line(tmp_path):
    tmp_path.chmod(stat.S_IREAD | stat.S_IEXEC)
    with pytest.raises(StoreError, match=r"runs: cannot write .* expected a folder with room"):
        ArtifactStore(tmp_path / "runs").get(Value(1))
    tmp_path.chmod(stat.S_IRWXU)


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(StoreError, match=r"runs: cannot write .*runs.* expected a folder with room to write in"):
        ArtifactStore(tmp_path / "runs").get(Value(1))


@pytest.mark.parametrize("name", ["tensors.safetensors", "record.json"])
def test_a_full_disk_is_one_line_and_what_is_finished_stays(tmp_path, monkeypatch, name):
    from benchmarks.artifacts import store as module

    ArtifactStore(tmp_path).get(Value(1))
    original = module.replace

    def full(path, write):
        if path.name == name:
            raise OSError(28, "No space left on device", str(path))
        original(path, write)

    monkeypatch.setattr(module, "replace", full)
    with pytest.raises(StoreError, match=r"No space left on device.*finished artifacts stay"):
        ArtifactStore(tmp_path).get(Value(2, Value(1)))
    monkeypatch.undo()
    assert ArtifactStore(tmp_path).get(Value(2, Value(1)))["value"].tolist() == [3.0] * 100


def test_an_artifact_can_be_adopted_from_another_key(tmp_path):
    store = ArtifactStore(tmp_path)
    store.get(Value(1))
    store.adopt(Value(2), store.folder_of(Value(1)), "the number changes nothing here")
    assert ArtifactStore(tmp_path).get(Value(2))["count"] == 1
    record = read_record(store.folder_of(Value(2)))
    assert record is not None
    assert record["adopted"] == {"from": store.folder_of(Value(1)).name, "why": "the number changes nothing here"}
    assert record["identity"] == json.loads(json.dumps(identity(Value(2))))
    assert record["made"] == read_record(store.folder_of(Value(1)))["made"]  # type: ignore[index]
    with pytest.raises(InputError, match=r"adopt: .* expected the folder of a finished artifact"):
        store.adopt(Value(3), tmp_path / "nothing", "no")


def test_specs_that_say_the_same_are_equal():
    one = Spec({"class_path": "torch.nn.Linear", "init_args": {"in_features": 2.0}})
    other = Spec({"in_features": 2, "class_path": "torch.nn.Linear"})
    assert (one, hash(one)) == (other, hash(other))
    assert one.having(bias=False).without(("bias",)) == one
    assert Path(one.class_path).suffix == ".Linear"


def test_a_training_that_was_stopped_goes_on_counting_its_seconds(tmp_path):
    store = ArtifactStore(tmp_path)
    folder = store.folder_of(Value(1))
    folder.mkdir()
    (folder / "spent").write_text("1000")
    store.get(Value(1))
    assert store.record(Value(1))["seconds"] < 1000  # type: ignore[index]
    again = store.folder_of(Value(2))
    again.mkdir()
    (again / "spent").write_text("1000")
    (again / "epoch-00003-0123.ckpt").write_text("the state that is gone on from")
    store.get(Value(2))
    assert store.record(Value(2))["seconds"] >= 1000  # type: ignore[index]
    assert not (again / "spent").exists()


def test_damage_that_another_process_has_mended_is_not_mended_again(tmp_path, monkeypatch):
    ArtifactStore(tmp_path).get(Value(1))
    truncate(next(tmp_path.glob("*/tensors.safetensors")))
    original = ArtifactStore._read
    reads: list[object] = []

    def read(self, artifact):
        found = original(self, artifact)
        if not reads:
            reads.append(found)
            with pytest.warns(UserWarning, match="damaged"):
                ArtifactStore(tmp_path).get(artifact)  # another process, between this one's look and its lock
        return found

    monkeypatch.setattr(ArtifactStore, "_read", read)
    assert ArtifactStore(tmp_path).get(Value(1))["count"] == 2
    assert (reads, len(CALLS)) == ([None], 2)


def test_who_waits_says_so(tmp_path):
    said: list[str] = []
    store = ArtifactStore(tmp_path, said.append)
    other = FileLock(f"{store.folder_of(Value(1))}.lock", thread_local=False)
    other.acquire()

    def announce(text):
        said.append(text)
        other.release(force=True)

    store.announce = announce
    store.get(Value(1))
    assert said == ["value: another process makes it", "value"]
