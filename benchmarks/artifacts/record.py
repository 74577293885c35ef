"""The record of an artifact's origin, written when it is made, never later."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import warnings
from functools import cache
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
PACKAGES = (
    "torch", "torchvision", "pytorch-lightning", "torchmetrics", "timm", "numpy", "numba", "faiss-cpu", "scikit-learn"
)  # fmt: skip


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def git_commit() -> str | None:
    """Return the commit of the project's checkout, marked if tracked files differ; None with a warning where git fails.

    An installed package has none, whatever repository it lies in.
    """
    if not (PROJECT / ".git").exists():
        return None
    try:
        changes = _git("status", "--porcelain", "-uno")
        return _git("rev-parse", "HEAD") + ("-dirty" if changes else "")
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        warnings.warn(f"git_commit: none is recorded, as git fails: {reason}", stacklevel=2)
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@cache
def hardware() -> dict[str, Any]:
    """Return processor, cores and accelerator."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(), "gpu": gpu}


def provenance() -> dict[str, Any]:
    """Return the commit, versions, hardware, threads and date of this process."""
    import torch

    return {
        "git_commit": git_commit(),
        "versions": versions(),
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "date": datetime.date.today().isoformat(),
    }
