"""embedflow: the old index recalls K items, the new model ranks those of them that are encoded.

With as many encodings a query as it has candidates, and with its default of 4 after a random part of the items has been
encoded ahead (`prewarm`), without its background worker.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from contract import GivenMatrices, single, start
from embedflow import migrate
from embedflow.indexes import FaissIndex
from embedflow.migration.facade import MigrationSession
from embedflow.models import EmbeddingModel

DEPTHS = (20, 50, 100)
DEFAULT = 50  # of candidates
RATIOS = np.array([0, 0.1, 0.5, 1.0])


class Table(EmbeddingModel):
    """Looks up what a model made of texts, which are row numbers."""

    def __init__(self, name: str, queries: np.ndarray, items: np.ndarray) -> None:
        self.model_id = self.fingerprint = name
        self.queries, self.items, self.dimension = queries, items, items.shape[1]

    def encode_queries(self, texts: list[str]) -> np.ndarray:
        return self.queries[[int(text) for text in texts]]

    def encode_documents(self, texts: list[str], batch_size: int | None = None) -> np.ndarray:
        return self.items[[int(text) for text in texts]]

    def close(self) -> None:
        pass


def session(given: GivenMatrices, depth: int, **options: int) -> MigrationSession:
    """Open a session over the old index with an empty cache."""
    folder = Path(tempfile.mkdtemp(dir="."))
    ids = [str(row) for row in range(len(given.gallery_old))]
    lines = [json.dumps({"id": row, "text": row}) for row in ids]
    (folder / "documents.jsonl").write_text("\n".join(lines))
    return migrate(
        index=FaissIndex.build(given.gallery_old, ids, documents=dict(zip(ids, ids, strict=True))),
        old_model=Table("old", given.query_old, given.gallery_old),
        new_model=Table("new", given.query_new, given.gallery_new),
        documents=folder / "documents.jsonl",
        cache_path=folder / "cache",
        state_path=folder / "state.json",
        backend="faiss",
        candidate_depth=depth,
        start_worker=False,
        **options,
    )


def lists(serving: MigrationSession, queries: int, depth: int) -> np.ndarray:
    """Search for all queries, (Q, K)."""
    found = np.full((queries, depth), -1)
    for query in range(queries):
        hits = serving.search(str(query), top_k=depth)["results"]
        found[query, : len(hits)] = [int(hit["id"]) for hit in hits]
    return found


def main() -> None:
    given, ways = start("embedflow")
    queries, texts = len(given.query_old), [str(row) for row in range(len(given.query_old))]
    for depth in DEPTHS:
        with session(given, depth + given.own, max_sync_misses=depth + given.own) as serving:
            found = lists(serving, queries, depth + given.own)
            seconds = single(lambda text: serving.search(text[0]), texts)
        ways.add(f"K={depth}", 0.0, seconds, f"2 + {depth} items", lists=found[None], ratios=np.zeros(1))
    order = np.random.default_rng(0).permutation(len(given.gallery_old))
    parts = []
    for ratio in RATIOS:
        with session(given, DEFAULT + given.own) as serving:
            serving.prewarm([str(row) for row in order[: int(ratio * len(order))]], asynchronous=False)
            parts.append(lists(serving, queries, DEFAULT + given.own))
            seconds = single(lambda text: serving.search(text[0]), texts)
    ways.add(f"K={DEFAULT}, default", 0.0, seconds, "2 + 4 items", lists=np.stack(parts), ratios=RATIOS)


main()
