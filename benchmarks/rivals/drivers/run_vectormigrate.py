"""vectormigrate: its adapters in closed form, of the query; equal dimensions alone, so zeros are appended."""

from functools import partial

from contract import single, start, timed
from vectormigrate import LowRankAffineAdapter, OrthogonalProcrustesAdapter

given, ways = start("vectormigrate")
given = given.padded()
adapters = {"OrthogonalProcrustes": OrthogonalProcrustesAdapter(), "LowRankAffine": LowRankAffineAdapter()}
for name, adapter in adapters.items():
    _, fit = timed(partial(adapter.fit, given.train_new, given.train_old))
    mapped = adapter.transform(given.query_new)
    ways.add(name, fit, single(adapter.transform, given.query_new), query=mapped, gallery=given.gallery_old)
