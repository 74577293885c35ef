"""Replay a backfill with the user's own embeddings, after the checks of `benchmarks.replay`."""

from __future__ import annotations

import hashlib
import json
import os
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.artifacts.artifact import checksum
from benchmarks.artifacts.record import provenance
from benchmarks.embeddings.arguments import given_arrays
from benchmarks.embeddings.arrays import is_array, load_array, split
from benchmarks.embeddings.judgements import FILES, load_judgements
from benchmarks.tables.terminal import narrow
from compat.backfill import Curve, backfill_curve
from compat.curve_metrics import CURVE_METRICS
from compat.embeddings import Embeddings, finite_matrix
from compat.errors import InputError
from compat.importing import ANYTHING, reason, resolved
from compat.merge import Merge, QueryZScore, Raw
from compat.progress import backfill_order, completion_ratios
from compat.results import Result, collect, forget, load_results, record_name
from compat.topk import topk_curve

CUTS = (1, 5)


@dataclass(frozen=True)
class MeasuredCurve:
    """A curve over all orders, the old system on its own, and details of the ranking.

    Attributes:
        curve: of the merged system.
        old: its first ratio is the old system.
        ranking: for each order, the cut-off of the ranking; empty for whole rankings.
    """

    curve: Curve
    old: Curve
    ranking: list[dict[str, Any]]


def in_processes(arguments: Namespace) -> None:
    """Replay, in a process group under torchrun, and print the table of the folder."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        dist.init_process_group("gloo")
    try:
        folder = replay(arguments)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    if int(os.environ.get("RANK", 0)) == 0:
        print(narrow(load_results(folder)))
        print(f"\nResults are in {folder}; draw them with: compat-bench plot {folder} -o {folder.name}.png")


def replay(arguments: Namespace) -> Path:
    """Replay and write a result for each order.

    Returns:
        The folder of the results.

    Raises:
        InputError: wrong input, or a result made from other input is in the way.
    """
    arrays = {name: load_array(name, file) for name, file in given_arrays(arguments).items()}
    items = len(arrays["gallery_old"])
    if arguments.qrels is not None:
        arrays["relevance"] = load_judgements(arguments, len(arrays["query_new"]), items)
    points, orders = ratios(arguments.progress, items), load_orders(arguments.order, arguments.seeds, items)
    identity = digest(inputs(arguments, points))
    folder = Path(arguments.output)
    others = made_from_other_input(folder, arguments, identity)
    if others and not arguments.overwrite:
        found = f"{others[0].name} (seed {others[0].seed}) in {folder}"
        raise InputError(f"overwrite: {found} was made from other input, expected --overwrite or another --name")
    started = time.perf_counter()
    measured = (cut_off if arguments.top_k else whole)(arrays, orders, points, arguments)
    seconds = round(time.perf_counter() - started, 2)
    if _is_first():
        results = [result(measured, seed, items, arguments, identity, seconds) for seed in range(len(orders))]
        record = provenance()
        forget(folder, [other.labels for other in others])
        made = [replace(found, provenance=[record_name(record)]) for found in results]
        collect(folder, made, experiment={"provenance": {record_name(record): record}})
    return folder


def ratios(asked: list[float], items: int) -> np.ndarray:
    """Return the given completion ratios, or this many, with both ends.

    Raises:
        InputError: more of them than items in the gallery.
    """
    number = int(asked[0]) if len(asked) == 1 and asked[0] > 1 and asked[0].is_integer() else None
    count, most = number or len(asked), max(11, items + 1)
    if count > most:
        raise InputError(f"progress: {count} completion ratios, expected at most {most} for {items} gallery items")
    return np.union1d(completion_ratios(number or asked), [0.0, 1.0])


def load_orders(given: str, seeds: int, items: int) -> np.ndarray:
    """Load the orders (S, G): random ones, seeds 0 to S - 1, or those of a file."""
    if given == "random":
        return np.stack([backfill_order(items, seed) for seed in range(seeds)])
    return np.atleast_2d(np.asarray(load_array("order", given)))


def inputs(arguments: Namespace, points: np.ndarray) -> dict[str, Any]:
    """Return the inputs of the figures: files by their content."""
    found: dict[str, Any] = {name: _digest(file) for name, file in given_arrays(arguments).items()}
    for name in ("order", "transform"):
        value = getattr(arguments, name)
        found[name] = _digest(value) if value and is_array(value) else value
    if arguments.qrels is not None:
        found |= {name: _digest(getattr(arguments, name)) for name in FILES} | {"min_grade": arguments.min_grade or 1}
    if arguments.top_k:
        found |= {name: getattr(arguments, name) for name in ("top_k", "index", "search")}
    if arguments.merge != "raw":
        found["merge"] = arguments.merge
    return {**found, "distance": arguments.distance, "progress": points.tolist()}


def digest(content: Any) -> str:
    """Digest JSON values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _digest(given: str) -> list[str]:
    path, key = split(given)
    return [checksum(path), key]


def made_from_other_input(folder: Path, arguments: Namespace, identity: str) -> list[Result]:
    """Return the results of this name and merge rule with other inputs."""
    known, row = load_results(folder) if any(folder.glob("*.json*")) else [], (arguments.name, arguments.merge)
    same = [r for r in known if (r.method, r.merge) == row]
    return [other for other in same if other.spec.get("inputs") != identity]


def whole(arrays: dict[str, Any], orders: np.ndarray, points: np.ndarray, arguments: Namespace) -> MeasuredCurve:
    """Replay whole rankings; every process has its rows of the queries or of the gallery."""
    shard = arguments.shard if dist.is_initialized() else None
    arrays = sharded(arrays, shard)
    options: dict[str, Any] = {name: getattr(arguments, name) for name in ("distance", "backend", "metrics")}
    options["shard"] = shard
    before = arrays.get("query_old")
    if arguments.transform is not None:
        arrays = {**arrays, "query_old": transformed(arguments.transform, arrays["query_new"])}
    old, alone = None, None
    if before is not None and arguments.transform is not None:
        alone = Embeddings(**{**arrays, "query_old": before})
        old = backfill_curve(alone, orders[0], [0.0], **options)
    e = Embeddings(**arrays)
    options["merge"] = merge_rule(arguments)
    curve = backfill_curve(e, orders, points, before=alone, show_progress=_is_first(), **options)
    return MeasuredCurve(curve, old or curve, [])


def sharded(arrays: dict[str, Any], shard: str | None) -> dict[str, Any]:
    """Return the arrays with this process's rows of the divided part."""
    if shard is None:
        return arrays
    part = ("query", "gallery")[shard == "gallery"]
    rank, world = dist.get_rank(), dist.get_world_size()
    mine = dict(arrays)
    for name in [name for name in arrays if name.startswith(part)]:
        cut = slice(*(len(arrays[name]) * r // world for r in (rank, rank + 1)))
        mine[name] = arrays[name][cut]
    if "relevance" in arrays:
        rows = torch.arange(len(arrays[f"{part}_new"]))[cut]
        mine["relevance"] = arrays["relevance"].subset(**{"queries" if part == "query" else "items": rows})
    return mine


def cut_off(arrays: dict[str, Any], orders: np.ndarray, points: np.ndarray, arguments: Namespace) -> MeasuredCurve:
    """Replay the nearest items alone, by a faiss index."""
    if arguments.transform is not None:
        arrays = {**arrays, "query_old": transformed(arguments.transform, arrays["query_new"])}
    e, index, search = Embeddings(**arrays), arguments.index or "Flat", arguments.search or ""
    options: dict[str, Any] = {"distance": arguments.distance, "index": index, "search": search}
    options["merge"] = merge_rule(arguments)
    curves = [topk_curve(e, order, points, k=arguments.top_k, top_k=CUTS, **options) for order in orders]
    figures = {"mean_ap": np.stack([c.mean_ap for c in curves]), "ndcg_10": np.stack([c.ndcg for c in curves])}
    figures |= {f"cmc_{k}": np.stack([c.cmc[k] for c in curves]) for k in CUTS}
    figures["negative_flip_rate"] = np.stack([c.negative_flip_rate for c in curves])
    curve = Curve(points, figures, curves[0].queries, curves[0].queries_without_positive)
    known = {"mean_ap": f"mAP@{arguments.top_k}", "index": index, "search": search}
    return MeasuredCurve(curve, curve, [{**known, "recall": c.recall.tolist()} for c in curves])


def merge_rule(arguments: Namespace) -> Merge:
    """Build the rule named by --merge."""
    return QueryZScore() if arguments.merge == "query_z_score" else Raw()


def transformed(given: str, query_new: Any) -> Tensor:
    """Compute query_old, (Q, D_old), by the transform."""
    queries = finite_matrix("query_new", query_new)
    try:
        with torch.inference_mode():
            return torch.as_tensor(load_transform(given)(queries))
    except InputError:
        raise
    except ANYTHING as error:
        found = f"{given} on query_new {tuple(queries.shape)} ({reason(error)})"
        raise InputError(f"transform: {found}, expected (Q, D_old) from it") from error


def load_transform(given: str) -> Callable[[Tensor], Any]:
    """Load the transform from query_new to query_old: a matrix (D_new, D_old) in a file, or a function's import path.

    Raises:
        InputError: neither.
    """
    if is_array(given):
        matrix = finite_matrix("transform", load_array("transform", given)).double()
        return lambda queries: (queries.double() @ matrix).float()
    function = resolved("transform", given, "a matrix file or module.function")
    if not callable(function):
        raise InputError(f"transform: {given} is a {type(function).__name__}, expected a function of (Q, D_new)")
    return function


def result(
    measured: MeasuredCurve, seed: int, items: int, arguments: Namespace, identity: str, seconds: float
) -> Result:
    """Build the result of one order."""
    curve, settings = measured.curve, ("order", "seeds", "distance", "transform", "shard", "backend")
    ranking = {"ranking": measured.ranking[seed]} if measured.ranking else {}
    spec = {"inputs": identity, **given_arrays(arguments), **{name: getattr(arguments, name) for name in settings}}
    if arguments.qrels is not None:
        spec |= {name: getattr(arguments, name) for name in FILES} | {"min_grade": arguments.min_grade or 1}
    if not dist.is_initialized():
        spec["shard"] = None
    curves = {name: values[seed].tolist() for name, values in curve.figures.items()}
    labels = {"method": arguments.name, "seed": seed}
    if arguments.merge != "raw":
        labels["merge"] = arguments.merge
    return Result(
        benchmark=Path(arguments.output).absolute().name,
        labels=labels,
        key=digest({"inputs": identity, "order": seed}),
        progress=curve.progress.tolist(),
        curves=curves,
        mean_ap_orders=[curves["mean_ap"]],
        old=_system(measured.old, 0),
        new=_system(curve, -1),
        queries=curve.queries,
        queries_without_positive=curve.queries_without_positive,
        gallery_items=items,
        encoder_passes_per_query=2 if arguments.transform is None else 1,
        spec={**spec, **ranking},
        seconds={"replay": seconds},
    )


def _system(curve: Curve, end: int) -> dict[str, float]:
    """Return the figures of the old or the new system, from an end of a curve."""
    of_a_system = [name for name in curve.figures if CURVE_METRICS[name].of_a_system]
    return {name: float(curve.figures[name][0, end]) for name in of_a_system}


def _is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0
