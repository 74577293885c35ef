"""rebasis: `probe_store` chooses a map by held-back pairs; the query bridged, the gallery rewritten, or two stages."""

from pathlib import Path

import numpy as np
from contract import single, start, timed
from rebasis.core import save_adapter
from rebasis.embed.backends.precomputed import PrecomputedEmbedder
from rebasis.probe import probe_store
from rebasis.serve import Bridge, Cascade
from rebasis.store.backends.memory import MemoryStore
from rebasis.types import EncodingProfile

HELD_OUT = 1000  # rebasis' default; of fewer pairs a quarter
CANDIDATES = 100  # of a Cascade, its default


def named(rows: np.ndarray) -> dict[str, np.ndarray]:
    return {f"item {row}": vector for row, vector in enumerate(rows)}


given, ways = start("rebasis")
old, new = (EncodingProfile(name, rows.shape[1]) for name, rows in (("old", given.train_old), ("new", given.train_new)))
names = list(named(given.train_old))
pairs = MemoryStore(names, given.train_old, names)
sizes = {"size": len(names), "heldout": min(HELD_OUT, len(names) // 4)}

(probed, _), fit = timed(lambda: probe_store(pairs, PrecomputedEmbedder(new, named(given.train_new)), **sizes))
saved = save_adapter(probed.adapter, Path("bridge.rbs"), direction="query_to_old", old_profile=old, new_profile=new)
bridge = Bridge.load(saved)
back = bridge.to_index_space(given.query_new)
ways.add("Bridge", fit, single(bridge.to_index_space, given.query_new), query=back)

(probed, _), forward = timed(
    lambda: probe_store(pairs, PrecomputedEmbedder(new, named(given.train_new)), fit_migration=True, **sizes)
)
gallery, rewriting = timed(lambda: probed.migration.adapter.apply(given.gallery_old))
ways.add("migrate", forward + rewriting, 0.0, query=given.query_new, gallery=gallery)

names = list(named(given.gallery_old))
store = MemoryStore(names, given.gallery_old, names)
encoder = PrecomputedEmbedder(new, named(given.gallery_new))
depth = min(CANDIDATES + given.own, len(names))
cascade = Cascade(store, bridge, encoder, candidates=depth)
found = np.array([[int(hit.id.split()[1]) for hit in cascade.search(row, k=depth)] for row in given.query_new])
seconds = single(lambda row: cascade.search(row[0], k=10), given.query_new)
passes = f"1 + {CANDIDATES} items"
ways.add(f"Cascade, {CANDIDATES}", fit, seconds, passes, lists=found[None], ratios=np.zeros(1))
