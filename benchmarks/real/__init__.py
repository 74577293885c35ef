"""Upgrades of real pretrained models on public data: matrices for `compat-bench replay`, and the rows of all methods."""
