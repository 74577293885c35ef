"""The replay of one of several processes; they import nothing else."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from compat import Embeddings, backfill_curve
from compat.curve_metrics import CURVE_METRICS
from compat.merge import Merge

SELECTED = {"query": "queries", "gallery": "items"}


def replay(
    rank: int,
    world: int,
    folder: Path,
    fields: Mapping[str, Any],
    orders: Sequence[np.ndarray],
    merge: Merge | None = None,
) -> None:
    """Replay its shard of the queries, and of the gallery, on both engines; save what is found."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world, timeout=timedelta(seconds=60))
    for shard, part in (("queries", "query"), ("gallery", "gallery")):
        mine = np.array_split(np.arange(len(fields[f"{part}_old"])), world)[rank]
        own: Any = {name: values[mine] if name.startswith(part) else values for name, values in fields.items()}
        if "relevance" in fields:
            own["relevance"] = fields["relevance"].subset(**{SELECTED[part]: torch.from_numpy(mine)})
        for backend in ("numba", "torch"):
            options: Any = {"shard": shard, "backend": backend, "query_chunk": 5, "merge": merge}
            curve = backfill_curve(Embeddings(**own), orders, 7, per_query=True, metrics=CURVE_METRICS, **options)
            found = [curve.figures, curve.first_rank, curve.average_precision, curve.queries]
            torch.save(found, f"{folder}/{shard}-{backend}-{rank}.pt")
    dist.destroy_process_group()
