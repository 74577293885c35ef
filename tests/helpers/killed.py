"""A benchmark that is killed at a stage, in a process that another one forks with everything imported."""

import os
import signal
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

import compat.results.folder as results
from benchmarks import run
from benchmarks.artifacts import training
from benchmarks.artifacts.store import ArtifactStore


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_until(stage: str, arguments: list[str]) -> None:
    """Run, and die at the end of an epoch, with half a product written, or with results written."""
    torch.set_num_threads(1)
    training.SAVE_INTERVAL = 0.0
    epoch_ends, write_record, replace = (
        training.EpochState.on_train_epoch_end,
        ArtifactStore._write_record,
        results.replace,
    )

    def on_train_epoch_end(self: Any, *given: Any) -> None:
        epoch_ends(self, *given)
        if stage == "an epoch":
            die()

    def write_record_or_die(folder: Path, record: dict[str, Any]) -> None:
        if record["label"].startswith(stage):
            path = folder / "tensors.safetensors"
            path.write_bytes(path.read_bytes()[:100])
            die()
        write_record(folder, record)

    def replace_and_die(path: Path, write: Any) -> None:
        replace(path, write)
        if stage == "collect":
            die()

    training.EpochState.on_train_epoch_end = on_train_epoch_end  # type: ignore[method-assign, assignment]
    ArtifactStore._write_record = staticmethod(write_record_or_die)  # type: ignore[method-assign]
    results.replace = replace_and_die
    sys.argv = ["run", *arguments]
    run.main()


def killed_at(stage: str, *arguments: str) -> int | None:
    """The exit code of a benchmark that is to die at a stage."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=run_until, args=(stage, list(arguments)))
    process.start()
    process.join()
    return process.exitcode
