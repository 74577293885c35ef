"""Verbs of the command line of the live engine."""
