"""Run an engine over all queries: in chunks, in threads, or with the gallery spread over processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from compat.engine.base import Countable, Engine
from compat.engine.cpu import CpuEngine, squared_norms
from compat.engine.exact import (
    EngineGallery,
    Figures,
    Positives,
    Queries,
    TorchEngine,
    Wanted,
    figures,
    thresholds_of,
)
from compat.engine.merged import MergeEngine
from compat.engine.scaled import ScaledCpuEngine, ScaledEngine
from compat.errors import InputError

Backend = Literal["auto", "numba", "torch"]
MEMORY = 2**28  # bytes of all chunks under way together
CHUNK = 256  # enough queries at a time for one thread
SCREENABLE = (1e-15, 1e15)  # norms whose products float32 holds
Summary = TypeVar("Summary")


def choose_engine(gallery: EngineGallery, queries: Queries, backend: Backend, sharded: bool = False) -> Engine:
    """Choose the compiled engine on the CPU and torch elsewhere, or the requested one.

    Embeddings with norms too large or small for float32 products always go to torch, which computes in float64.

    Raises:
        InputError: an unknown backend, or numba for tensors outside the CPU.
    """
    if backend not in ("auto", "numba", "torch"):
        raise InputError(f"backend: {backend!r}, expected auto, numba or torch")
    device = gallery.old.device.type
    if gallery.merge is not None:
        if backend == "torch" or device != "cpu" or sharded:
            raise InputError("merge: expected the whole gallery on the CPU, and no backend: torch")
        return MergeEngine(gallery)
    if backend == "numba" and device != "cpu":
        raise InputError(f"backend: numba with embeddings on {device}, expected them on the CPU")
    if gallery.samples:
        return ScaledEngine(gallery) if backend == "torch" or device != "cpu" or sharded else ScaledCpuEngine(gallery)
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


def replay(
    engines: Sequence[Engine],
    queries: Sequence[Queries],
    chunk: int | None,
    sharded: bool,
    wanted: Wanted,
    summary: Callable[[Tensor, Figures], Summary],
) -> Iterator[tuple[Tensor, Summary]]:
    """Compute the figures of all queries, a chunk at a time, and summarise each chunk.

    Args:
        engines: of the gallery, or of this process's shard of it; several where the gallery is in parts.
        queries: all of them, for each part.
        chunk: queries at a time; by default as many as fit into about 256 MiB.
        sharded: whether the gallery is spread over the processes of torch.distributed, each with all queries.
        wanted: further figures.
        summary: function of row numbers (N,) and their figures, (S, T, N); called in several threads.

    Yields:
        Row numbers of the queries (N,) and their summary.
    """
    rows = queries[0].labels.argsort(stable=True)  # those of a label share their positives' rows in the cache
    threaded = all(engine.threaded for engine in engines) and not sharded
    threads = torch.get_num_threads() if threaded else 1
    chunks = rows.split(chunk or _chunk(engines, threads, sharded, wanted))

    def summary_of(some: Tensor) -> Summary:
        return summary(some, figures_of(some, engines, queries, sharded, wanted))

    yield from (
        _in_threads(summary_of, chunks, threads) if threaded else zip(chunks, map(summary_of, chunks), strict=True)
    )


def figures_of(
    rows: Tensor, engines: Sequence[Engine], queries: Sequence[Queries], sharded: bool, wanted: Wanted
) -> Figures:
    """Compute the figures of some queries (N,). Arguments as in `replay`."""
    compared = [Queries(*(values[rows] for values in part)) for part in queries]
    if len(engines) == 1 and not sharded:
        return engines[0].figures(compared[0], wanted)
    return _counted(cast(Sequence[Countable[Any]], engines), compared, sharded, wanted)


def _counted(engines: Sequence[Countable[Any]], queries: Sequence[Queries], sharded: bool, wanted: Wanted) -> Figures:
    """Compute figures from the counts of all parts of the gallery, in every process."""
    measured = [engine.measure(part) for engine, part in zip(engines, queries, strict=True)]
    positives = _join([engine.positives(part) for engine, part in zip(engines, measured, strict=True)])
    if sharded:
        positives = _gather(positives, engines[0].gallery.points)
    if isinstance(scaled := engines[0], ScaledEngine):
        return scaled.counted(measured[0], positives, wanted, dist.all_reduce)
    thresholds = thresholds_of(positives)
    ranks = torch.stack([e.ranks(part, thresholds) for e, part in zip(engines, measured, strict=True)]).sum(0)
    if sharded:
        dist.all_reduce(ranks)
    return figures(ranks, positives, thresholds, wanted, engines[0].gallery.min_grade)


def _in_threads(
    summary_of: Callable[[Tensor], Summary], chunks: tuple[Tensor, ...], threads: int
) -> Iterator[tuple[Tensor, Summary]]:
    """Run chunks in as many threads as torch may use, each with its own matrix products."""
    with _one_torch_thread():
        pool = ThreadPoolExecutor(threads, thread_name_prefix="replay")
        try:
            yield from zip(chunks, pool.map(summary_of, chunks), strict=True)
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


def _chunk(engines: Sequence[Engine], threads: int, sharded: bool, wanted: Wanted) -> int:
    """Return the queries at a time; the same in every process, as all meet in each chunk."""
    gallery = engines[0].gallery
    items = torch.tensor(sum(len(engine.gallery.old) for engine in engines), device=gallery.old.device)
    positives = _most_listed([engine.gallery for engine in engines]).to(items.device)
    if sharded:
        dist.all_reduce(items, dist.ReduceOp.MAX)
        dist.all_reduce(positives)
    width, orders = 2 * int(positives) + 1, len(gallery.step)
    need = max(engine.bytes_per_query(int(items), width) for engine in engines)
    if sharded or len(engines) > 1 or not engines[0].threaded:
        need += 24 * orders * (gallery.points + 1) * width
    if any(wanted):  # and a metric's results
        need += 16 * sum(wanted) * orders * gallery.points * width
    fitting = max(1, MEMORY // threads // need)
    return min(CHUNK, fitting) if all(engine.threaded for engine in engines) else fitting


def _most_listed(parts: Sequence[EngineGallery]) -> Tensor:
    """Return about the largest number of relevant or judged items of a query in a gallery, or in this shard of it."""
    if parts[0].relevance is not None:
        return torch.tensor(sum(part.relevance.widest for part in parts if part.relevance is not None))
    return torch.cat([part.labels for part in parts if part.labels is not None]).unique(return_counts=True)[1].max()


def _join(parts: Sequence[Positives]) -> Positives:
    """Join the positives of all parts of the gallery, side by side."""
    old, new, step, found, grades = zip(*parts, strict=True)
    beside = None if grades[0] is None else torch.cat(grades, 1)
    return Positives(torch.cat(old, 1), torch.cat(new, 1), torch.cat(step, 2), torch.stack(found).sum(0), beside)


def _gather(positives: Positives, points: int) -> Positives:
    """Gather the positives of every process's shard, side by side."""
    width = torch.tensor(positives.old.shape[1], device=positives.old.device)
    dist.all_reduce(width, dist.ReduceOp.MAX)
    count = positives.found.clone()
    dist.all_reduce(count)
    padding = (0, int(width) - positives.old.shape[1])
    old, new = (_side_by_side(torch.nn.functional.pad(d, padding, value=torch.inf)) for d in positives[:2])
    step = _side_by_side(torch.nn.functional.pad(positives.step, padding, value=points))
    if positives.grades is None:
        return Positives(old, new, step, count)
    grades = _side_by_side(torch.nn.functional.pad(positives.grades, padding, value=-1))
    return Positives(old, new, step, count, grades)


def _side_by_side(part: Tensor) -> Tensor:
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts, -1)
