"""Replay a backfilling with embeddings of your own: arrays in, one result for each seed out.

    compat-bench replay --query-old q_old.npy --query-new q_new.npy --gallery-old g_old.npy \\
        --gallery-new g_new.npy --query-labels q_labels.npy --gallery-labels g_labels.npy --seeds 5 -o results/mine

Arrays are .npy files (memory-mapped) or .safetensors files, file.safetensors:name where one holds several tensors.
In place of labels, --qrels takes judgements with ids, see docs/embeddings.md.
The old and the new system, the ends of the backfilling, are always measured. With --top-k K the mAP stored is mAP@K,
and the result's config has the recall of the index. Under torchrun the queries, or with --shard gallery the gallery,
are divided among the processes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.embeddings.arguments import ARRAYS, check_folder, check_seeds, given_arrays
from benchmarks.embeddings.arrays import check_array, is_array
from benchmarks.embeddings.judgements import add_judgements
from compat.command import command_parser, exit_on_input_error
from compat.curve_metrics import ALWAYS, CURVE_METRICS, UNDER_JUDGEMENTS, USUAL
from compat.errors import InputError, check_name


def check(arguments: argparse.Namespace) -> None:
    """Check arguments without reading the arrays.

    Raises:
        InputError: wrong arguments, missing files, an unwritable folder of results.
    """
    check_name("name", arguments.name)
    given = given_arrays(arguments)
    for name in ("order", "transform"):
        if (value := getattr(arguments, name)) is not None and is_array(value):
            check_array(name, value)
    check_seeds(arguments.seeds)
    check_top_k(arguments, given)
    if not arguments.output.strip():
        raise InputError("output: empty, expected a folder")
    check_folder(Path(arguments.output))


def check_top_k(arguments: argparse.Namespace, given: dict[str, str]) -> None:
    """Raises InputError for options incompatible with a cut-off ranking, or valid only with one."""
    if arguments.top_k is None:
        if arguments.metrics is None:
            arguments.metrics = list(USUAL if arguments.qrels is None else UNDER_JUDGEMENTS)
        for name in ("index", "search"):
            if (value := getattr(arguments, name)) is not None:
                raise InputError(f"{name}: {value!r} without --top-k, expected both")
        return
    if arguments.metrics:
        raise InputError(f"metrics: {' '.join(arguments.metrics)} with --top-k, expected none, as ranks are cut off")
    arguments.metrics = []
    if arguments.top_k < 5:
        raise InputError(f"top_k: {arguments.top_k}, expected at least 5, as CMC@5 is measured")
    if "query_old" in given and arguments.transform is not None:
        raise InputError("query_old: given beside --transform and --top-k, expected one of the first two")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise InputError("top_k: under torchrun, expected one process")


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.replay`."""
    parser = command_parser("benchmarks.replay", __doc__)
    shapes = {"query_old": "(Q, D_old)", "query_new": "(Q, D_new)", "gallery_old": "(G, D_old)"}
    shapes |= {"gallery_new": "(G, D_new)", "query_labels": "(Q,) integers", "gallery_labels": "(G,) integers"}
    for name in ARRAYS:
        note = "integers; items of a query's own group are ignored for it"
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="FILE", help=shapes.get(name, note))
    add_judgements(parser)
    parser.add_argument(
        "--transform", help="makes query_old from query_new: a file with a matrix (D_new, D_old), or module.function"
    )
    parser.add_argument("--order", default="random", help="random, or a file with one order (G,) or several (S, G)")
    parser.add_argument("--seeds", type=int, default=1, help="number of random orders; one result each (default 1)")
    parser.add_argument(
        "--progress",
        type=float,
        nargs="+",
        default=[11.0],
        help="completion ratios besides 0 and 1, or their number (default 11)",
    )
    parser.add_argument("--distance", choices=["cosine", "l2"], default="cosine")
    parser.add_argument(
        "--merge",
        choices=["raw", "query_z_score"],
        default="raw",
        help="by raw distances, or standardised for each query by a sample of migrated items (default raw)",
    )
    parser.add_argument("--backend", choices=["auto", "numba", "torch"], default="auto")
    parser.add_argument(
        "--shard", choices=["queries", "gallery"], default="queries", help="split of the work under torchrun"
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="rank only the K nearest items by faiss: mAP@K")
    further = [name for name in CURVE_METRICS if name not in ALWAYS]
    default = f"default {', '.join(USUAL)}; with --qrels {', '.join(UNDER_JUDGEMENTS[len(USUAL) :])} too"
    what = f"beside mAP, CMC and flips, of {', '.join(further)} ({default})"
    parser.add_argument("--metrics", nargs="+", choices=further, default=None, metavar="METRIC", help=what)
    parser.add_argument("--index", help="faiss index_factory string with --top-k, such as IVF1024,Flat (default Flat)")
    parser.add_argument("--search", help="faiss search parameters with --top-k, such as nprobe=16")
    parser.add_argument("--name", default="mine", help="name of the method in tables and plots (default mine)")
    parser.add_argument("--overwrite", action="store_true", help="replace results made from other input")
    parser.add_argument("-o", "--output", required=True, help="folder of the results, results/<benchmark>")
    return parser


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.replay`."""
    with exit_on_input_error():
        arguments = parser().parse_args(given)
        check(arguments)
        from benchmarks.embeddings.measure import in_processes  # imports torch: after all other checks

        in_processes(arguments)


if __name__ == "__main__":
    main()
