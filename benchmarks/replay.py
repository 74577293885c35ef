"""Replay a backfilling with embeddings of your own: arrays in, one result for each seed out.

    python -m benchmarks.replay --query-old q_old.npy --query-new q_new.npy --gallery-old g_old.npy \\
        --gallery-new g_new.npy --query-labels q_labels.npy --gallery-labels g_labels.npy --seeds 5 -o results/mine

Arrays are .npy files (memory-mapped) or .safetensors files, file.safetensors:name where one holds several tensors.
Under torchrun the queries, or with --shard gallery the gallery, are divided among the processes.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor

from benchmarks.cache import checksum, fingerprint
from benchmarks.provenance import git_commit, hardware, versions
from benchmarks.report.terminal import narrow
from compat.backfill import Curve, Embeddings, backfill_curve, backfill_order, completion_ratios
from compat.errors import InputError, exit_on_input_error
from compat.results import Result, check_name, collect, forget, load_results

ARRAYS = (
    "query_old", "query_new", "gallery_old", "gallery_new", "query_labels", "gallery_labels", "query_groups",
    "gallery_groups",
)  # fmt: skip
OPTIONAL = ("query_old", "query_groups", "gallery_groups")


def split(given: str) -> tuple[str, str]:
    """File and, for file.safetensors:name, the tensor in it."""
    path, found, key = given.rpartition(".safetensors:")
    return (f"{path}.safetensors", key) if found else (given, "")


def load_array(name: str, given: str) -> np.ndarray | Tensor:
    """A .npy file, memory-mapped, or a tensor of a .safetensors file.

    Raises:
        InputError: no such file, another format, no such tensor in it, or a single number.
    """
    path, key = split(given)
    if not path.endswith((".npy", ".safetensors")):
        raise InputError(f"{name}: {given}, expected a file that ends in .npy or .safetensors")
    try:
        if path.endswith(".npy"):
            array: Any = np.load(path, mmap_mode="r")
        else:
            with safe_open(path, "pt") as file:
                names = list(file.keys())
                if not key and len(names) != 1:
                    raise InputError(f"{name}: {given} holds {', '.join(names)}, expected {given}:name for one of them")
                array = file.get_tensor(key or names[0])
    except InputError:
        raise
    except (OSError, EOFError, ValueError, SafetensorError) as error:
        raise InputError(f"{name}: {given} ({error}), expected an array in .npy or .safetensors") from error
    if array.ndim == 0:
        raise InputError(f"{name}: {given} holds a single value, expected an array")
    return array


def digest(given: str) -> list[str]:
    """What an array depends on: its file's content, and which tensor of it."""
    path, key = split(given)
    return [checksum(path), key]


def load_transform(given: str) -> Callable[[Tensor], Any]:
    """What makes query_old from query_new: a matrix (D_new, D_old) in a file, or a function by its import path.

    Raises:
        InputError: neither.
    """
    if split(given)[0].endswith((".npy", ".safetensors")):
        matrix = tensor(load_array("transform", given)).double()
        return lambda queries: (queries.double() @ matrix).float()
    try:
        function = pkgutil.resolve_name(given)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"transform: {given} ({error}), expected a matrix file or module.function") from error
    if not callable(function):
        raise InputError(f"transform: {given} is a {type(function).__name__}, expected a function of (Q, D_new)")
    return function


def tensor(array: np.ndarray | Tensor) -> Tensor:
    """In memory, whatever it was."""
    return array if isinstance(array, Tensor) else torch.from_numpy(np.array(array))


def transformed(given: str, query_new: Any) -> Tensor:
    """query_old, (Q, D_old), as the transform makes it."""
    queries = tensor(query_new)
    try:
        with torch.inference_mode():
            return torch.as_tensor(load_transform(given)(queries))
    except InputError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        shape = tuple(queries.shape)
        raise InputError(f"transform: {given} on query_new {shape} ({reason}), expected (Q, D_old) from it") from error


def load_orders(given: str, seeds: int, items: int) -> np.ndarray:
    """The orders (S, G): random ones, seeds 0 to S - 1, or those of a file."""
    if given == "random":
        if seeds < 1:
            raise InputError(f"seeds: {seeds}, expected at least 1")
        return np.stack([backfill_order(items, seed) for seed in range(seeds)])
    return np.atleast_2d(np.asarray(load_array("order", given)))


def replay(arguments: argparse.Namespace) -> Path:
    """Replay and write a result for each order.

    Returns:
        The folder of the results.

    Raises:
        InputError: wrong input, or a result made from other input is in the way.
    """
    given = {name: value for name in ARRAYS if (value := getattr(arguments, name)) is not None}
    for name in ARRAYS:
        if name not in given and name not in OPTIONAL:
            raise InputError(f"{name}: not given, expected --{name.replace('_', '-')} FILE")
    if "query_old" not in given and arguments.transform is None:
        raise InputError("query_old: not given, expected --query-old FILE, or --transform to make it from query_new")
    arrays: dict[str, Any] = {name: load_array(name, path) for name, path in given.items()}
    asked = arguments.progress
    points = completion_ratios(int(asked[0]) if len(asked) == 1 and asked[0] > 1 and asked[0].is_integer() else asked)
    orders = load_orders(arguments.order, arguments.seeds, len(arrays["gallery_old"]))

    settings = {name: getattr(arguments, name) for name in ("order", "seeds", "distance", "transform")}
    inputs: dict[str, Any] = {name: digest(path) for name, path in given.items()}
    for name in ("order", "transform"):
        value = settings[name]
        inputs[name] = digest(value) if value and Path(split(value)[0]).is_file() else value
    base = fingerprint({**inputs, "distance": arguments.distance, "progress": points.tolist()})
    folder = Path(arguments.output)
    check_name("name", arguments.name)
    same = [r for r in load_results(folder) if r.method == arguments.name] if folder.exists() else []
    others = [result for result in same if result.spec.get("inputs") != base]
    if others and not arguments.overwrite:
        found = f"{others[0].name} (seed {others[0].seed}) in {folder}"
        raise InputError(f"overwrite: {found} was made from other input, expected --overwrite or another --name")

    shard = arguments.shard if dist.is_initialized() else None
    own = slice(None)  # of the queries' rows
    if shard is not None:
        part = "query" if shard == "queries" else "gallery"
        rank, world = dist.get_rank(), dist.get_world_size()
        for name in [name for name in arrays if name.startswith(part)]:
            cut = slice(*(len(arrays[name]) * r // world for r in (rank, rank + 1)))
            arrays[name] = arrays[name][cut]
            own = cut if part == "query" else own
    started = time.perf_counter()
    before = arrays.get("query_old")
    if arguments.transform is not None:
        arrays["query_old"] = transformed(arguments.transform, arrays["query_new"])
    options = {"distance": arguments.distance, "backend": arguments.backend, "shard": shard}
    old = None
    if before is not None and arguments.transform is not None:
        alone = Embeddings(**{**arrays, "query_old": before})
        old = backfill_curve(alone, orders[0], [0.0], per_query=True, **options)
    # the ends are the old and the new system, whatever ratios are asked for
    whole = np.union1d(points, [0.0, 1.0])
    correct = None if old is None or old.first_rank is None else old.first_rank[own, 0, 0] == 1
    curve = backfill_curve(
        Embeddings(**arrays), orders, whole, correct_before=correct, show_progress=_is_first(), **options
    )
    seconds = round(time.perf_counter() - started, 2)
    if _is_first():
        at = np.searchsorted(whole, points)
        results = [
            Result(
                benchmark=folder.name,
                labels={"method": arguments.name, "seed": seed},
                key=fingerprint({"inputs": base, "order": seed}),
                progress=points.tolist(),
                mean_ap=curve.mean_ap_orders[seed, at].tolist(),
                cmc_1=curve.cmc_orders[1][seed, at].tolist(),
                cmc_5=curve.cmc_orders[5][seed, at].tolist(),
                negative_flip_rate=curve.negative_flip_rate_orders[seed, at].tolist(),
                mean_ap_orders=[curve.mean_ap_orders[seed, at].tolist()],
                old=_system(curve if old is None else old, 0),
                new=_system(curve, -1),
                queries=curve.queries,
                queries_without_positive=curve.queries_without_positive,
                gallery_items=orders.shape[1],
                encoder_passes_per_query=2 if arguments.transform is None else 1,
                spec={"inputs": base, **given, **settings, "shard": shard, "backend": arguments.backend},
                provenance=[0],
                seconds={"replay": seconds},
            )
            for seed in range(len(orders))
        ]
        forget(folder, [result.labels for result in others])
        made = {"commit": git_commit(), "hardware": hardware(), "versions": versions()}
        collect(folder, results, experiment={"provenance": [made]})
    return folder


def _system(curve: Curve, end: int) -> dict[str, float]:
    """The figures of the old or the new system, from an end of a curve."""
    cmc = {f"cmc_{k}": float(curve.cmc_orders[k][0, end]) for k in (1, 5)}
    return {"mean_ap": float(curve.mean_ap_orders[0, end]), **cmc}


def _is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.replay`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shapes = {"query_old": "(Q, D_old)", "query_new": "(Q, D_new)", "gallery_old": "(G, D_old)"}
    shapes |= {"gallery_new": "(G, D_new)", "query_labels": "(Q,) integers", "gallery_labels": "(G,) integers"}
    for name in ARRAYS:
        note = "integers; items of a query's own group are ignored for it"
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="FILE", help=shapes.get(name, note))
    parser.add_argument(
        "--transform", help="makes query_old from query_new: a file with a matrix (D_new, D_old), or module.function"
    )
    parser.add_argument("--order", default="random", help="random, or a file with one order (G,) or several (S, G)")
    parser.add_argument("--seeds", type=int, default=1, help="how many random orders; one result each (default 1)")
    parser.add_argument(
        "--progress", type=float, nargs="+", default=[11.0], help="completion ratios, or how many of them (default 11)"
    )
    parser.add_argument("--distance", choices=["cosine", "l2"], default="cosine")
    parser.add_argument("--backend", choices=["auto", "numba", "torch"], default="auto")
    parser.add_argument("--shard", choices=["queries", "gallery"], default="queries", help="under torchrun")
    parser.add_argument("--name", default="mine", help="of the method, in tables and plots (default mine)")
    parser.add_argument("--overwrite", action="store_true", help="replace results made from other input")
    parser.add_argument("-o", "--output", required=True, help="folder of the results, results/<benchmark>")
    return parser


def main() -> None:
    """Command line of `python -m benchmarks.replay`."""
    arguments = parser().parse_args()
    with exit_on_input_error():
        if "TORCHELASTIC_RUN_ID" in os.environ:
            dist.init_process_group("gloo")
        try:
            folder = replay(arguments)
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
        if int(os.environ.get("RANK", 0)) == 0:
            print(narrow(load_results(folder)))
            print(f"\nResults are in {folder}; draw them with: python -m benchmarks.plot {folder} -o {folder.name}.png")


if __name__ == "__main__":
    main()
