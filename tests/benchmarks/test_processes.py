"""Several processes on one folder, and a process that is interrupted."""

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from benchmarks.artifacts.threads import choose, cores, quota
from tests import ROOT
from tests.helpers.running import by_name, figures, labelled, planned

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start(config, *arguments):
    command = [sys.executable, "-m", "benchmarks.run", str(config), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def made(errors: str) -> list[str]:
    """The artifacts that a process said it makes, without those that it waited for."""
    lines = [line for line in errors.splitlines() if line.startswith("[") and "another process makes it" not in line]
    return [line.split("] ", 1)[1].rsplit(" (", 1)[0] for line in lines]


@pytest.mark.slow
def test_two_processes_on_one_folder_make_each_artifact_once(config):
    processes = [start(config) for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    together = Counter(label for _, errors in outputs for label in made(errors))
    shared = by_name(config.parent / "results" / "tiny")
    elsewhere = config.parent / "elsewhere"
    start(config, f"--runs={config.parent / 'alone'}", f"--results={elsewhere}").communicate()
    alone = by_name(elsewhere / "tiny")
    assert set(together.values()) == {1}
    assert len(together) == len(list((config.parent / "alone").glob("*/record.json")))
    assert all(figures(shared[name]) == figures(result) for name, result in alone.items())


THREADS = """
import torch
from benchmarks.artifacts.threads import set_threads
from compat import Embeddings, backfill_curve

asked = set_threads({pixels})
space, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
backfill_curve(Embeddings(space, space, space, space, labels, labels), order=range(4))
print(asked, torch.get_num_threads())
"""


@pytest.mark.parametrize(("pixels", "given", "expected"), [(10, None, 1), (10, "2", 2), (10**9, "1", 1)])
def test_torch_has_the_threads_that_were_chosen_whatever_else_starts_some(pixels, given, expected):
    unset = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in unset}
    environment |= {"OMP_NUM_THREADS": given} if given else {}
    code = [sys.executable, "-c", THREADS.format(pixels=pixels)]
    done = subprocess.run(code, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(expected)] * 2


@pytest.mark.parametrize(("free", "pixels", "expected"), [(8, 10, 1), (8, 10**8, 8), (1, 10**8, 1)])
def test_threads_follow_from_the_machine_and_the_size_of_the_work(free, pixels, expected):
    assert choose(free, pixels) == expected


def test_threads_that_the_user_sets_are_part_of_what_is_trained(config, monkeypatch):
    by_setting = {}
    for given in ("", "x", "1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
        by_setting[given] = labelled(planned(config))
    assert by_setting[""] == by_setting["x"]
    changed = {name for name in by_setting["1"] if by_setting["1"][name] != by_setting["2"][name]}
    assert set(by_setting["1"]) - changed == {"order random"}


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [("cpu.max", "max 100000", None), ("cpu.max", "150000 100000", 1.5), ("cpu.max", "torn", None)],
)
def test_the_quota_of_a_control_group_counts(tmp_path, file, content, expected):
    (tmp_path / file).write_text(content)
    assert quota(tmp_path) == expected
    assert 1 <= cores(tmp_path) <= (2 if expected else os.cpu_count() or 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")], ids=["ctrl-c", "sigterm"]
)
def test_an_interrupted_run_says_how_to_go_on(config, number, word):
    process = start(config, "--old.trainer.max_epochs=2000")
    assert process.stderr is not None
    for line in process.stderr:
        if "train old" in line:
            break
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number
    assert errors.splitlines()[-1] == f"{word}; run the same command to go on where it was"
