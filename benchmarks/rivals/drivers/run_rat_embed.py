"""rat-embed: similarities to shared anchors, on both sides, with the z-scores that its README advises."""

from functools import partial

from contract import single, start, timed
from rat import RATranslator

ANCHORS = 500

given, ways = start("rat-embed")
translator = RATranslator(kernel="poly", normalize="always")
_, fit = timed(partial(translator.fit_embeddings, given.train_new[:ANCHORS], given.train_old[:ANCHORS]))
gallery, rewriting = timed(partial(translator.transform, given.gallery_old, "b"))
query = translator.transform(given.query_new, "a")
seconds = single(partial(translator.transform, source="a"), given.query_new)
ways.add("RATranslator", fit + rewriting, seconds, query=query, gallery=gallery)
