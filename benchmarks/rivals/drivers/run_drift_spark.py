"""drift-spark: an orthogonal map of the query; it takes equal dimensions alone, so zeros are appended."""

from contract import single, start, timed
from drift import DriftAdapter

given, ways = start("drift-spark")
given = given.padded()
adapter, fit = timed(lambda: DriftAdapter().fit(given.train_old, given.train_new))
mapped = adapter.predict(given.query_new)
ways.add("drift-adapter", fit, single(adapter.predict, given.query_new), query=mapped, gallery=given.gallery_old)
