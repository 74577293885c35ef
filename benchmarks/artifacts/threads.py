"""How many threads to compute with: what is free for this process, and what the work is worth. The same each time.

The number of threads changes the last digits of sums and with them a training, so it follows from the machine and the
size of the work alone, not from the load of the moment; a record says it. Small work gets one thread: threads that wait
for each other while another process has the core cost up to forty times the work itself.
"""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compat.data.base import RetrievalData

SMALL = 2_000_000  # pixels of training images up to which one thread is as fast as several
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def cores(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Processors that this process may use: those of its affinity, and no more than its control group's quota."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota(cgroups)
    return max(1, free if limit is None else min(free, ceil(limit)))


def quota(cgroups: Path) -> float | None:
    """Processors that a control group may use (version 2, then 1), None for no limit."""
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
    """The user's own setting, if there is one."""
    given = next((os.environ[name] for name in SETTINGS if os.environ.get(name)), "")
    return int(given) if given.isdecimal() and int(given) > 0 else None


def choose(free: int, pixels: int) -> int:
    """Threads for a benchmark, where the user does not set them.

    Args:
        free: processors.
        pixels: of all training images, as the model sees them.
    """
    return 1 if pixels <= SMALL else free


def count_pixels(data: RetrievalData) -> int:
    """Of all training images, as the model sees them: what a training is worth in threads."""
    images = data.train_images(augment=False)
    return len(images) * images[0].image[0].numel()


def set_threads(pixels: int) -> int:
    """Set the threads of faiss and torch for a benchmark whose training images have so many pixels.

    Torch's come last: a library that starts its own threads sets those of OpenMP, and with them torch's, to the number
    of cores. Compiled loops run in threads of the replay, as many as torch's; numba's own are not started.
    """
    import faiss
    import torch

    count = read_setting() or choose(cores(), pixels)
    faiss.omp_set_num_threads(count)
    torch.set_num_threads(count)
    return count
