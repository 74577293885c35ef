"""isotrieve: ridge regression, of the stored gallery forward or, as in its serve mode, of the query back."""

from contract import single, start, timed
from isotrieve import RidgeMapping

given, ways = start("isotrieve")
mapping, fit = timed(lambda: RidgeMapping().fit(given.train_old, given.train_new))
gallery, rewriting = timed(lambda: mapping.transform(given.gallery_old))
ways.add("ridge, gallery forward", fit + rewriting, 0.0, query=given.query_new, gallery=gallery)
back = mapping.inverse_transform(given.query_new)
ways.add("ridge, query back", fit, single(mapping.inverse_transform, given.query_new), query=back)
