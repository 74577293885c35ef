"""rat-embed: similarities to shared anchors, on both sides; with and without the z-scores its README advises."""

from functools import partial

from contract import single, start, timed
from rat import RATranslator

ANCHORS = 500

given, ways = start("rat-embed")
for normalize in ("auto", "always"):
    translator = RATranslator(kernel="poly", normalize=normalize)
    anchors = given.train_new[:ANCHORS], given.train_old[:ANCHORS]
    _, fit = timed(partial(translator.fit_embeddings, *anchors))
    gallery, rewriting = timed(partial(translator.transform, given.gallery_old, "b"))
    query = translator.transform(given.query_new, "a")
    seconds = single(partial(translator.transform, source="a"), given.query_new)
    ways.add(f"normalize={normalize}", fit + rewriting, seconds, query=query, gallery=gallery)
