"""Upgrades of real pretrained models on public data: matrices for `compat-bench replay`, and their rows."""
