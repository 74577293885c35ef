"""Figures of the documents: how fast the project is, and how large."""
