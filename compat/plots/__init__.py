"""Plots of results; matplotlib is imported here."""
