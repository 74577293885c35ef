"""embspec: ridge regression of old on new embeddings, applied to the query; the penalty is that of its README."""

from contract import single, start, timed
from embspec import DriftAdapter

given, ways = start("embspec")
adapter, fit = timed(
    lambda: DriftAdapter.fit(new_embeddings=given.train_new, old_embeddings=given.train_old, regularization=0.01)
)
ways.add("DriftAdapter", fit, single(adapter.transform, given.query_new), query=adapter.transform(given.query_new))
