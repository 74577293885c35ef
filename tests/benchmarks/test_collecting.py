"""From a run to its folder of results: what is in the way, a full disk, a failure, and what lies beside the results."""

import errno
import os
import sys

import pytest

import compat.results.folder
from benchmarks import run as runner
from benchmarks.artifacts import method_state as learned
from benchmarks.artifacts import weights
from benchmarks.jobs.collect import ResultCollector
from compat.methods import ReverseQuery
from compat.results import load_experiment, load_failures, load_results
from tests.helpers.running import main, run


def test_a_full_disk_under_the_results_loses_nothing_that_was_computed(config, capsys, monkeypatch):
    def full(path, write):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(compat.results.folder, "replace", full)
        code, line = main(capsys, patch, config, "--only=rqt")
    folder = config.parent / "results/tiny"
    reason = f"{folder / 'results.jsonl'}: No space left on device"
    assert code == 2
    assert line == f"error: results: cannot write {reason}, expected a folder with room to write in"
    assert load_failures(folder) == []
    for module in (weights, learned):
        monkeypatch.setattr(module, "fit", lambda *_: pytest.fail("trained again"))
    assert list(run(config, "--only=rqt")) == ["rqt-s0"]


def test_a_full_disk_while_a_failure_is_noted_is_one_line(config, capsys, monkeypatch):
    def full(path, write):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ReverseQuery, "terms", lambda *_: 1 / 0)
    monkeypatch.setattr(compat.results.folder, "replace", full)
    code, line = main(capsys, monkeypatch, config, "--only=rqt")
    assert (code, line.split(":")[:2]) == (2, ["error", " results"])


def test_a_result_that_another_experiment_has_written_meanwhile_is_not_replaced(config, capsys, monkeypatch):
    """Both looked before the first of them had written."""
    before = run(config, "--only=rqt")["rqt-s0"]
    monkeypatch.setattr(ResultCollector, "check_free", lambda *_: None)
    code, line = main(capsys, monkeypatch, config, "--only=rqt", "--methods.rqt.init_args.hidden=9")
    assert code == 2
    assert line.startswith("error: overwrite: ")
    assert "another result of rqt (seed 0), written meanwhile" in line
    (after,) = load_results(config.parent / "results/tiny")
    assert after == run(config, "--only=rqt")["rqt-s0"] == before


def test_a_failing_job_leaves_the_result_of_another_config_there(config, monkeypatch):
    before = run(config)["rqt-s0"]
    with monkeypatch.context() as patch:
        patch.setattr(ReverseQuery, "terms", lambda *_: 1 / 0)
        results = run(config, "--methods.rqt.init_args.hidden=9", overwrite=True)
    assert results["rqt-s0"] == before
    folder = config.parent / "results/tiny"
    assert {f.labels["method"]: f.reason for f in load_failures(folder)} == {
        "rqt": "ZeroDivisionError: division by zero"
    }
    run(config)
    assert load_failures(folder) == []


def test_the_experiment_has_the_commands_and_no_circumstances(config, monkeypatch):
    arguments = [str(config), "--only=independent", "--old.seed=1", "--heads.trainer.enable_model_summary=false"]
    for more in ([], [], ["--seed=[0, 1]"]):
        monkeypatch.setattr(sys, "argv", ["run", *arguments, *more])
        runner.main()
    found = load_experiment(config.parent / "results/tiny")
    command = "python -m benchmarks.run " + " ".join(arguments)
    assert found["commands"] == [command, f"{command} '--seed=[0, 1]'"]
    assert not {"only", "seed", "runs", "results"} & found["config"].keys()
    trainers = [found["config"][part]["trainer"]["init_args"].keys() for part in ("old", "new", "heads")]
    assert not {"enable_progress_bar", "enable_model_summary"} & set().union(*trainers)


def test_what_differs_is_said_of_a_generation_s_seed_too(config, capsys, monkeypatch):
    run(config, "--only=independent")
    code, line = main(capsys, monkeypatch, config, "--only=independent", "--old.seed=1")
    assert code == 2
    assert "(old.seed: 0 -> 1)" in line


def test_other_orders_in_the_folder_are_no_difference(config, capsys, monkeypatch):
    density = "--replay.by={random: {class_path: compat.orders.Random}, density: {class_path: compat.orders.Density}}"
    run(config, "--only=independent", density)
    _, line = main(capsys, monkeypatch, config, "--only=independent", "--old.seed=1")
    assert "(old.seed: 0 -> 1)" in line
