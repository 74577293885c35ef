"""Embeddings of the user: arrays in files, measured."""
