"""Measure the figures of the documents: speed and size of the project."""
