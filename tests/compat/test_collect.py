"""Collecting into a folder of results: killed between any two files, on a full disk, by two writers."""

import errno
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pytest

import compat.results.experiment
import compat.results.folder
import compat.results.queries
from compat.errors import InputError
from compat.results import (
    CollectError,
    Failure,
    Result,
    collect,
    collect_failures,
    load_experiment,
    load_failures,
    load_query_auc,
    load_results,
    record_name,
)
from tests import ROOT
from tests.helpers.toy import RESULT, labelled

MADE = {record_name(record): record for record in ({"git_commit": name} for name in "abcd")}
A, B, C, D = MADE
NAMES = ["experiment.yaml", "queries.npz", "results.jsonl", "queries.npz", "failures.jsonl", "experiment.yaml"]
WRITES = len(NAMES)  # queries.npz first without what is replaced, experiment.yaml last without what is left over


class Killed(BaseException):
    """Takes the place of SIGKILL."""


def before(folder: Path) -> None:
    """A folder with two results and two failures."""
    of_b, of_m = (labelled(method=name) for name in ("b", "m"))
    experiment = {"config": {"methods": {"b": {}, "m": {}}}, "provenance": {A: MADE[A], B: MADE[B]}}
    results = [replace(of_b, provenance=[A]), replace(of_m, provenance=[B])]
    collect(folder, results, [np.full(4, 0.1), np.full(4, 0.2)], experiment)
    collect_failures(folder, [Failure("toy", labelled(method=name).labels, "x") for name in ("a", "z")])


def added(folder: Path) -> None:
    """One result is made anew and one, first in order, takes the place of a failure; what was made as A is gone."""
    results = [replace(labelled(method="b"), key="new", provenance=[D]), replace(labelled(method="a"), provenance=[C])]
    experiment = {"config": {"methods": {"a": {}}}, "provenance": {C: MADE[C], D: MADE[D]}}
    collect(folder, results, [np.full(4, 0.3), np.full(4, 0.4)], experiment)


def content(folder: Path):
    """All that can be read of a folder."""
    results = load_results(folder)
    areas = [load_query_auc(folder, result) for result in results]
    return results, [None if a is None else a.tolist() for a in areas], load_experiment(folder), load_failures(folder)


def stop_at(monkeypatch, number: int, error: BaseException, half: bool = False) -> list[str]:
    """Raise at the write of that number, or when half of its file is there; returns the names of what is written."""
    original, names = compat.results.folder.replace, []

    def replaced(path, write):
        def torn(temporary):
            write(temporary)
            temporary.write_bytes(temporary.read_bytes()[:10])
            raise error

        names.append(path.name)
        stop = len(names) == number + 1
        if stop and not half:
            raise error
        original(path, torn if stop else write)

    for module in (compat.results.folder, compat.results.queries, compat.results.experiment):
        monkeypatch.setattr(module, "replace", replaced)
    return names


def test_killed_between_any_two_files_nothing_is_lost_or_mistaken(tmp_path, monkeypatch):
    before(tmp_path / "whole")
    with monkeypatch.context() as patch:
        names = stop_at(patch, WRITES, Killed())
        added(tmp_path / "whole")
    assert names == NAMES
    expected = content(tmp_path / "whole")
    assert [result.provenance for result in expected[0]] == [[C], [D], [B]]
    assert expected[2]["provenance"] == {name: MADE[name] for name in (B, C, D)}
    made = {(r.method, r.key): r.provenance for r in expected[0]} | {("b", "0123"): [A]}
    for number in range(WRITES):
        folder = tmp_path / f"killed-{number}"
        before(folder)
        with monkeypatch.context() as patch:
            stop_at(patch, number, Killed())
            with pytest.raises(Killed):
                added(folder)
        results, areas, experiment, _ = content(folder)
        of_old = dict(zip(((r.method, r.key) for r in results), areas, strict=True)).get(("b", "0123"))
        assert of_old is None or of_old == [0.1] * 4
        assert {r.method for r in results} >= {"b", "m"}
        for result in results:
            assert result.provenance == made[result.method, result.key]
            assert all(experiment["provenance"][name] == MADE[name] for name in result.provenance)
        added(folder)
        assert content(folder) == expected


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("number", range(WRITES))
def test_a_full_disk_is_one_line_and_what_was_there_stays(tmp_path, monkeypatch, number, half):
    before(tmp_path / "toy")
    with monkeypatch.context() as patch:
        stop_at(patch, number, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), half)
        with pytest.raises(CollectError) as caught:
            added(tmp_path / "toy")
    reason = f"{tmp_path / 'toy'}: No space left on device"
    assert str(caught.value) == f"results: cannot write {reason}, expected a folder with room to write in"
    assert not list((tmp_path / "toy").glob(".*.[0-9]*"))
    added(tmp_path / "toy")
    before(tmp_path / "whole")
    added(tmp_path / "whole")
    assert content(tmp_path / "toy") == content(tmp_path / "whole")


def filled(folder: Path, kept: list[Result]) -> None:
    """Collect until it raises."""
    for seed in range(1000):
        collect(folder, [labelled(seed=seed)])
        kept.append(labelled(seed=seed))


def test_a_disk_of_32_kilobytes(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", disk], capture_output=True).returncode:
        pytest.skip("may not mount")
    kept: list[Result] = []
    try:
        with pytest.raises(CollectError, match=r"results: cannot write .*: No space left on device, expected"):
            filled(disk / "toy", kept)
        assert load_results(disk / "toy") == kept
        assert len(kept) > 1
        assert not list((disk / "toy").glob(".*.[0-9]*"))
        with pytest.raises(CollectError, match="No space left"):
            collect_failures(disk / "toy", [Failure("toy", RESULT.labels, "x" * 40_000)])
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_read_only_folder_is_one_line(tmp_path, monkeypatch):
    def refused(self, *_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), self.lock_file)

    monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    for write in (lambda: collect(tmp_path, [RESULT]), lambda: collect_failures(tmp_path, [])):
        with pytest.raises(CollectError, match=rf"^results: cannot write {tmp_path}/.lock: Read-only file system, exp"):
            write()


def test_what_a_killed_process_left_is_swept_by_the_next_and_git_ignored(tmp_path):
    names = [f".{name}.123" for name in ("results.jsonl", "failures.jsonl", "experiment.yaml", "queries.npz")]
    for name in [*names, ".mine.123"]:
        (tmp_path / name).write_text("torn")
    collect(tmp_path, [RESULT])
    assert {path.name for path in tmp_path.glob(".*")} == {".lock", ".mine.123"}
    paths = [f"results/toy/{name}" for name in [*names, ".lock"]]
    done = subprocess.run(["git", "check-ignore", *paths], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == paths


def test_a_result_of_another_key_is_replaced_only_if_it_may_be(tmp_path):
    collect(tmp_path, [RESULT])
    other = replace(RESULT, key="other")
    with pytest.raises(CollectError, match=r"overwrite: .* has another result of rqt \(seed 0\)"):
        collect(tmp_path, [labelled(seed=1), other], overwrite=False)
    assert load_results(tmp_path) == [RESULT]
    collect(tmp_path, [RESULT, labelled(seed=1)], overwrite=False)
    collect(tmp_path, [other])
    assert [r.key for r in load_results(tmp_path)] == ["other", "0123"]


def test_an_upgrade_without_a_place_in_the_sequence_is_refused(tmp_path):
    collect(tmp_path, [labelled(upgrade="last")])
    with pytest.raises(InputError, match=r"upgrade: 'last', expected first, second_from_1"):
        load_results(tmp_path)
