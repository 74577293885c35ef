"""Extraction on many machines by Ray Data: actors with the new model turn a manifest into files of vectors.

    python -m compat.live.ray_pipeline manifest.parquet vectors --models my_models.models --concurrency 8 --gpus 1

Ray starts on this machine, or connects to the cluster of `RAY_ADDRESS` or `ray job submit`; manifest and vectors must
then be on storage shared by all machines. After an interruption the finished part files can be applied; a half-written
part file is refused by name. The next manifest has the remaining items.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError, at_least_one, not_negative
from compat.live import canaries, parquet
from compat.live.breaker import LAST, broken_model, is_suspicious
from compat.live.canaries import CANARIES
from compat.live.extraction import Extraction, extract
from compat.live.items import Item, Work
from compat.live.manifest import fingerprint
from compat.live.verbs.arguments import load_models

PART = 16384  # rows of a part file, at most
SHARES = 4  # minimum number of parts per actor


class Extract:
    """Embeds batches of a manifest; Ray creates one in each actor.

    Args:
        models: import path of a function which returns `compat.live.Models`.
        version: version of the migration's new model.

    Raises:
        InputError: another model.
    """

    def __init__(self, models: str, version: str) -> None:
        self.model = load_models(models).new
        if self.model.version != version:
            raise InputError(f"models.new: {self.model.version}, expected {version}, which the migration began with")
        self.read: list[Work] = []

    def __call__(self, batch: Any) -> Any:
        """Turn a table of a manifest into one of vectors, and of failures for unreadable items.

        Raises:
            InputError: a model which does not answer, is broken, or does not reproduce its own embeddings.
        """
        pyarrow = parquet.import_pyarrow()
        work = [Work(row["id"], row["version"], row["content"]) for row in batch.to_pylist()]
        extracted = extract(self.model, work)
        if is_suspicious(work, extracted):
            self.check(work, extracted)
        vectors = {id: vector for id, _, vector in extracted.done}
        read = [one for one in work if one.id in vectors]
        drawn = [read[n] for n in np.random.default_rng().permutation(len(read))[:CANARIES]]
        items = [Item(one.id, one.content, {}, one.version, new=vectors[one.id]) for one in drawn]
        canaries.check_model(self.model, items, "new", "l2", "new", "the same vectors again")
        self.read = drawn or self.read
        failures = {id: why for id, _, why in extracted.failed}
        ids = batch.column("id").to_pylist()
        return pyarrow.table(
            {
                "id": batch.column("id"),
                "version": batch.column("version"),
                "migration": batch.column("migration"),
                "vector": pyarrow.array(map(vectors.get, ids), pyarrow.list_(pyarrow.float32())),
                "failure": pyarrow.array(map(failures.get, ids), pyarrow.string()),
            }
        )

    def check(self, work: Sequence[Work], found: Extraction) -> None:
        """Refuse a model which no longer reads earlier items, or, with none read so far, fails on a large batch.

        Raises:
            Broken: the model is broken.
        """
        lost = len(extract(self.model, self.read).failed) if self.read else 0
        if 2 * lost > len(self.read):
            raise broken_model(work, found, f"{lost} of {len(self.read)} it had read before")
        if not self.read and len(work) >= LAST:
            raise broken_model(work, found)


def pipeline(
    manifest: str | Path, out: str | Path, models: str, concurrency: int = 1, gpus: float = 0, batch: int = 256
) -> int:
    """Embed all items of a manifest.

    Args:
        manifest: file written by `compat.live.manifest.export`.
        out: folder of the part files.
        models: import path of a function which returns `compat.live.Models`.
        concurrency: number of actors.
        gpus: GPUs per actor.
        batch: items per batch.

    Returns:
        The number of items.

    Raises:
        InputError: no manifest, or one for another model; Ray is not installed, or failed.
    """
    at_least_one(concurrency=concurrency, batch=batch)
    not_negative(gpus=gpus)
    version = fingerprint(manifest)["new"]
    with parquet.open_file("manifest", manifest) as file:
        count = file.metadata.num_rows
    if count == 0:
        return 0
    ray = start_ray(concurrency)
    rows = max(min(PART, count // (SHARES * concurrency)), batch)
    needs: dict[str, float] = {"num_gpus": gpus} if gpus else {}
    try:
        items = ray.data.read_parquet(str(manifest)).repartition(target_num_rows_per_block=rows)
        vectors = items.map_batches(
            Extract,
            fn_constructor_args=(models, version),
            compute=ray.data.ActorPoolStrategy(size=concurrency),
            batch_size=batch,
            batch_format="pyarrow",
            **needs,
        )
        vectors.write_parquet(str(out), write_page_checksum=True)
    except Exception as error:
        raise InputError(f"ray: {describe_error(error)}; the vectors in {out} can be applied, expected all") from error
    return count


def start_ray(concurrency: int) -> Any:
    """Start or connect to Ray, with usage statistics disabled.

    Raises:
        InputError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("ray: not installed, expected it: pip install compat-bench[ray]") from error
    if not ray.is_initialized():
        alone = "RAY_ADDRESS" not in os.environ
        # each actor holds a CPU, and one is left to read and write
        ray.init(include_dashboard=False, num_cpus=max(os.cpu_count() or 1, concurrency + 1) if alone else None)
    return ray


def describe_error(error: BaseException) -> str:
    """Describe an actor's failure in one line."""
    texts = [str(one) for one in causes(error)]
    for text in texts:
        if found := re.findall(r"(?:InputError|Unreachable|Broken): (.+)", text):
            return found[-1]
    return next((line for text in texts for line in reversed(text.splitlines()) if line.strip()), type(error).__name__)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and the chain of its causes."""
    while error is not None:
        yield error
        error = error.__cause__


def parser() -> argparse.ArgumentParser:
    """Make the parser of `python -m compat.live.ray_pipeline`."""
    parser = command_parser("compat.live.ray_pipeline", __doc__)
    parser.add_argument("manifest", help="file written by `compat-bench live plan --export`")
    parser.add_argument("out", help="folder for the vectors, input of `compat-bench live apply`")
    parser.add_argument("--models", required=True, metavar="MODULE.FUNCTION", help="function which returns Models")
    parser.add_argument("--concurrency", type=int, default=1, help="number of actors with a model (default 1)")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs per actor (default 0)")
    parser.add_argument("--batch", type=int, default=256, help="items per batch (default 256)")
    return parser


def main() -> None:
    """Run `python -m compat.live.ray_pipeline`."""
    with exit_on_input_error():
        given = parser().parse_args()
        count = pipeline(given.manifest, given.out, given.models, given.concurrency, given.gpus, given.batch)
        print(f"{count} items are in {given.out}" if count else "nothing is pending")


if __name__ == "__main__":
    main()
