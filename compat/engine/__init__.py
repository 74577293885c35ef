"""Compute every query's figures at every completion ratio, from one pass over the distances.

`exact` has the algorithm in torch operations, for any device; `cpu` the same compiled; `replay` runs either over all
queries in bounded memory, also with the gallery spread over processes.
"""
