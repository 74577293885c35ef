"""Extraction on many machines by Ray Data: actors that hold the new model take a manifest to files of vectors.

    python -m compat.live.ray_pipeline manifest.parquet vectors --models my_models.models --concurrency 8 --gpus 1

Ray starts on this machine, or is the cluster of `RAY_ADDRESS` or of `ray job submit`; manifest and vectors then have to
be where all its machines see them. If it is cut short, what is there may be applied, but for a part file that is half
written, which is refused by name; another manifest then has what is left.
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
from compat.live.breaker import LAST, broken, doubtful
from compat.live.canaries import CANARIES
from compat.live.extraction import Extracted, extract
from compat.live.items import Item, Work
from compat.live.manifest import fingerprint
from compat.live.verbs.arguments import models_of

PART = 16384  # rows of a part file, at most
SHARES = 4  # parts that each actor gets, at least


class Extract:
    """Embeds batches of a manifest; Ray makes one in each actor.

    Args:
        models: import path of a function that returns `compat.live.Models`.
        version: of the new model that the migration is for.

    Raises:
        InputError: another model.
    """

    def __init__(self, models: str, version: str) -> None:
        self.model = models_of(models).new
        if self.model.version != version:
            raise InputError(f"models.new: {self.model.version}, expected {version}, which the migration began with")
        self.read: list[Work] = []

    def __call__(self, batch: Any) -> Any:
        """A table of a manifest -> one of vectors, and of failures for what cannot be read.

        Raises:
            InputError: a model that does not answer, is broken, or embeds an item otherwise when it is asked again.
        """
        pyarrow = parquet.arrow()
        work = [Work(row["id"], row["version"], row["content"]) for row in batch.to_pylist()]
        extracted = extract(self.model, work)
        if doubtful(work, extracted):
            self.check(work, extracted)
        vectors = {id: vector for id, _, vector in extracted.done}
        read = [one for one in work if one.id in vectors]
        drawn = [read[n] for n in np.random.default_rng().permutation(len(read))[:CANARIES]]
        items = [Item(one.id, one.content, {}, one.version, new=vectors[one.id]) for one in drawn]
        canaries.check(self.model, items, "new", "l2", "new", "the same vectors again")
        self.read = drawn or self.read
        failures = {id: why for id, _, why in extracted.dead}
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

    def check(self, work: Sequence[Work], found: Extracted) -> None:
        """Refuse a model that reads no more of what it has read before, or, if it has read nothing, of a large batch.

        Raises:
            Broken: it does.
        """
        lost = len(extract(self.model, self.read).dead) if self.read else 0
        if 2 * lost > len(self.read):
            raise broken(work, found, f"{lost} of {len(self.read)} that it had read")
        if not self.read and len(work) >= LAST:
            raise broken(work, found)


def pipeline(
    manifest: str | Path, out: str | Path, models: str, concurrency: int = 1, gpus: float = 0, batch: int = 256
) -> int:
    """Embed all items of a manifest; how many they are.

    Args:
        manifest: that `compat.live.manifest.export` wrote.
        out: folder of the part files.
        models: import path of a function that returns `compat.live.Models`.
        concurrency: actors.
        gpus: of each actor.
        batch: items extracted at a time.

    Raises:
        InputError: no manifest, or one for another model; Ray is not installed, or gave up.
    """
    at_least_one(concurrency=concurrency, batch=batch)
    not_negative(gpus=gpus)
    version = fingerprint(manifest)["new"]
    with parquet.opened("manifest", manifest) as file:
        count = file.metadata.num_rows
    if count == 0:
        return 0
    ray = started(concurrency)
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
        raise InputError(f"ray: {reason(error)}; what is in {out} may be applied, expected all vectors") from error
    return count


def started(concurrency: int) -> Any:
    """Ray, on its cluster or on this machine; it tells nobody about it.

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
        # an actor keeps one of Ray's CPUs, and one is to be left to read and write
        ray.init(include_dashboard=False, num_cpus=max(os.cpu_count() or 1, concurrency + 1) if alone else None)
    return ray


def reason(error: BaseException) -> str:
    """What happened in an actor, in one line."""
    texts = [str(one) for one in causes(error)]
    for text in texts:
        if found := re.findall(r"(?:InputError|Unreachable|Broken): (.+)", text):
            return found[-1]
    return next((line for text in texts for line in reversed(text.splitlines()) if line.strip()), type(error).__name__)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and what it came of."""
    while error is not None:
        yield error
        error = error.__cause__


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m compat.live.ray_pipeline`."""
    parser = command_parser("compat.live.ray_pipeline", __doc__)
    parser.add_argument("manifest", help="that `compat-bench live plan --export` wrote")
    parser.add_argument("out", help="folder of the vectors, for `compat-bench live apply`")
    parser.add_argument("--models", required=True, metavar="MODULE.FUNCTION", help="returns compat.live.Models")
    parser.add_argument("--concurrency", type=int, default=1, help="actors that hold a model (default 1)")
    parser.add_argument("--gpus", type=float, default=0, help="of each actor (default 0)")
    parser.add_argument("--batch", type=int, default=256, help="items extracted at a time (default 256)")
    return parser


def main() -> None:
    """Command line of `python -m compat.live.ray_pipeline`."""
    with exit_on_input_error():
        given = parser().parse_args()
        count = pipeline(given.manifest, given.out, given.models, given.concurrency, given.gpus, given.batch)
        print(f"{count} items are in {given.out}" if count else "nothing is pending")


if __name__ == "__main__":
    main()
