"""The environment of the models' packages: made once, and a process in it for each embedding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.real.pairs import MODELS, RUNTIMES
from compat.errors import InputError

ENCODERS = Path(__file__).with_name("encoders.py")
READY = "installed.json"


class Spent(NamedTuple):
    """What one embedding took: CPU seconds, and the largest memory of its process."""

    cpu_seconds: float
    mebibytes: float


def python_of(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(work: Path, family: str) -> Path:
    """Make an environment with the packages of a family of models, once; return its interpreter.

    The models' packages are installed without what they require, the few packages that the encoders import beside them.
    PyTorch and its companions are those of this process: its site-packages follow those of the environment.

    Raises:
        InputError: pip failed; its last line says why.
    """
    folder = work / f"environment-{family}"
    python, wanted = python_of(folder), [*RUNTIMES[family], *packages_of(family)]
    if (folder / READY).is_file() and json.loads((folder / READY).read_text()) == wanted:
        return python
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([*pip, *RUNTIMES[family]], [*pip, "--no-deps", *packages_of(family)]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(f"packages: pip failed in {folder} ({last}), expected an index with {', '.join(wanted)}")
    shared = [path for path in sys.path if Path(path).name == "site-packages"]
    site = next(folder.glob("**/site-packages"))
    (site / "shared.pth").write_text("".join(f"{path}\n" for path in shared))
    (folder / READY).write_text(json.dumps(wanted))
    return python


def packages_of(family: str) -> list[str]:
    """Return the pinned packages with the weights of a family's models."""
    return sorted({package for model in MODELS.values() if model.family == family for package in model.packages})


def embed(python: Path, model: str, inputs: list[str], target: Path) -> Spent:
    """Embed inputs by a model in its environment, into an .npy file.

    Raises:
        InputError: the encoder failed; its last line says why.
    """
    with TemporaryDirectory() as folder:
        source, made = Path(folder, "inputs.json"), Path(folder, "made.npy")
        source.write_text(json.dumps(inputs))
        command = [str(python), str(ENCODERS), model, str(source), str(made)]
        with Path(folder, "errors").open("w+") as errors:
            process = subprocess.Popen(command, stderr=errors, stdout=errors)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                errors.seek(0)
                last = (errors.read().strip().splitlines() or ["no message"])[-1]
                raise InputError(f"model: {model} failed ({last}), expected embeddings of {len(inputs)} inputs")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(made.read_bytes())
    return Spent(round(usage.ru_utime + usage.ru_stime, 1), round(usage.ru_maxrss / 1024, 1))
