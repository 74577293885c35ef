"""Choose a reproducible number of threads, from the free processors and the size of the work.

The number of threads changes the last digits of sums and with them a training, so it follows from the machine and the
size of the work alone, not from the current load; a record keeps it. Small work gets one thread: threads waiting for
each other while another process has the core cost up to forty times the work itself.
"""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compat.data.base import RetrievalData

SMALL = 2_000_000  # pixels of training images; below, one thread is as fast as several
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def cores(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the processors usable by this process: those of its affinity, within its control group's quota."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota(cgroups)
    return max(1, free if limit is None else min(free, ceil(limit)))


def quota(cgroups: Path) -> float | None:
    """Return the processors usable by a control group (version 2, then 1), None for no limit."""
    try:
        allowed, period = (cgroups / "cpu.max").read_text().split()
        return None if allowed == "max" else int(allowed) / int(period)
    except (OSError, ValueError):
        pass
    try:
        allowed, period = ((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(allowed) / int(period) if int(allowed) > 0 else None
    except (OSError, ValueError):
        return None


def read_setting() -> int | None:
    """Return the user's own setting, if there is one."""
    given = next((os.environ[name] for name in SETTINGS if os.environ.get(name)), "")
    return int(given) if given.isdecimal() and int(given) > 0 else None


def choose(free: int, pixels: int) -> int:
    """Choose the threads of a benchmark without a setting by the user.

    Args:
        free: processors.
        pixels: of all training images, at the model's input size.
    """
    return 1 if pixels <= SMALL else free


def count_pixels(data: RetrievalData) -> int:
    """Count the pixels of all training images, at the model's input size: a measure of a training's size."""
    images = data.train_images(augment=False)
    return len(images) * images[0].image[0].numel()


def set_threads(pixels: int) -> int:
    """Set the threads of faiss and torch for a benchmark with this many pixels of training images.

    Torch's come last: a library starting its own threads sets those of OpenMP, and with them torch's, to the number of
    cores. Compiled loops run in threads of the replay, as many as torch's; numba's own are not started.
    """
    import faiss
    import torch

    count = read_setting() or choose(cores(), pixels)
    faiss.omp_set_num_threads(count)
    torch.set_num_threads(count)
    return count
