"""Several processes on one folder, and a process that is interrupted."""

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from tests import ROOT
from tests.running import by_name, figures

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start(config, *arguments):
    command = [sys.executable, "-m", "benchmarks.run", str(config), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def made(errors: str) -> list[str]:
    """The products that a process said it makes."""
    lines = [line for line in errors.splitlines() if line.startswith("[") and "] " in line]
    return [line.split("] ", 1)[1].rsplit(" (", 1)[0] for line in lines]


@pytest.mark.slow
def test_two_processes_on_one_folder_make_each_product_once(config):
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


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(config):
    process = start(config, "--old.trainer.max_epochs=2000")
    assert process.stderr is not None
    for line in process.stderr:
        if "train old" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.strip().endswith("interrupted; run the same command to go on where it was")
