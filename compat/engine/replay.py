"""Run an engine over all queries: in chunks, in threads, or with the gallery spread over processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from compat.engine.cpu import CpuEngine, squared_norms
from compat.engine.exact import Figures, Gallery, Positives, Queries, TorchEngine, figures, thresholds_of
from compat.errors import InputError

Backend = Literal["auto", "numba", "torch"]
Engine = CpuEngine | TorchEngine
MEMORY = 2**28  # bytes that all chunks under way take together
SCREENABLE = (1e-15, 1e15)  # norms whose products float32 holds


def choose_engine(gallery: Gallery, queries: Queries, backend: Backend, sharded: bool = False) -> Engine:
    """The compiled engine on the CPU and torch elsewhere, or the one asked for.

    Embeddings with norms that float32 products do not hold are always left to torch, which computes in float64.

    Raises:
        InputError: an unknown backend, or numba for tensors that are not on the CPU.
    """
    if backend not in ("auto", "numba", "torch"):
        raise InputError(f"backend: {backend!r}, expected auto, numba or torch")
    device = gallery.old.device.type
    if backend == "numba" and device != "cpu":
        raise InputError(f"backend: numba with embeddings on {device}, expected them on the CPU")
    if backend == "torch" or device != "cpu":
        return TorchEngine(gallery)
    beyond = torch.tensor(0)
    for rows in (gallery.old, gallery.new, *queries[:2]):
        squared = squared_norms(rows)
        wrong = (squared < SCREENABLE[0] ** 2) & (squared > 0) | (squared > SCREENABLE[1] ** 2)
        beyond += int(wrong.any())
    if sharded:  # all processes take the same engine
        dist.all_reduce(beyond)
    return TorchEngine(gallery) if beyond else CpuEngine(gallery)


def replay(engine: Engine, queries: Queries, chunk: int | None, sharded: bool) -> Iterator[tuple[Tensor, Figures]]:
    """The figures of all queries, a chunk at a time.

    Args:
        engine: of the gallery, or of this process's shard of it.
        queries: all of them.
        chunk: how many at a time; by default what takes about 256 MiB.
        sharded: whether the gallery is spread over the processes of torch.distributed, each with all queries.

    Yields:
        Row numbers of the queries (N,) and their figures, (S, T, N).
    """
    rows = queries.labels.argsort(stable=True)  # those of a label share their positives' rows in the cache
    threads = torch.get_num_threads() if isinstance(engine, CpuEngine) and not sharded else 1
    chunks = rows.split(chunk or _chunk(engine, queries, threads, sharded))
    if isinstance(engine, CpuEngine) and not sharded:
        yield from _in_threads(engine, queries, chunks, threads)
    else:
        for some in chunks:
            part = Queries(*(values[some] for values in queries))
            positives = engine.positives(part)
            if sharded:
                positives = _gather(positives, engine.gallery.points)
            thresholds = thresholds_of(positives)
            ranks = engine.ranks(part, thresholds)
            if sharded:
                dist.all_reduce(ranks)
            yield some, figures(ranks, positives, thresholds)


def _in_threads(
    engine: CpuEngine, queries: Queries, chunks: tuple[Tensor, ...], threads: int
) -> Iterator[tuple[Tensor, Figures]]:
    """As many threads as torch may use, each with chunks and matrix products of its own."""
    with _one_torch_thread():
        pool = ThreadPoolExecutor(threads, thread_name_prefix="replay")
        try:
            parts = (Queries(*(values[some] for values in queries)) for some in chunks)
            yield from zip(chunks, pool.map(engine.figures, parts), strict=True)
        finally:  # an interrupt waits for the chunks under way and starts no more
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _chunk(engine: Engine, queries: Queries, threads: int, sharded: bool) -> int:
    """Queries at a time; the same in every process, as they have to meet in each chunk."""
    gallery = engine.gallery
    items = torch.tensor(len(gallery.labels), device=gallery.labels.device)
    positives = gallery.labels.unique(return_counts=True)[1].max()
    if sharded:
        dist.all_reduce(items, dist.ReduceOp.MAX)
        dist.all_reduce(positives)
    width, orders = 2 * int(positives) + 1, len(gallery.step)
    ranks = 24 * orders * (gallery.points + 1) * width
    if isinstance(engine, CpuEngine):
        need = 8 * int(items) + 32 * width + (ranks if sharded else 0) + 2**15
        return max(1, min(256, MEMORY // threads // need))
    return max(1, MEMORY // (64 * int(items) + ranks))


def _gather(positives: Positives, points: int) -> Positives:
    """The positives in every process's shard, side by side."""
    width = torch.tensor(positives.old.shape[1], device=positives.old.device)
    dist.all_reduce(width, dist.ReduceOp.MAX)
    count = positives.found.clone()
    dist.all_reduce(count)
    padding = (0, int(width) - positives.old.shape[1])
    old, new = (_side_by_side(torch.nn.functional.pad(d, padding, value=torch.inf)) for d in positives[:2])
    return Positives(old, new, _side_by_side(torch.nn.functional.pad(positives.step, padding, value=points)), count)


def _side_by_side(part: Tensor) -> Tensor:
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts, -1)
