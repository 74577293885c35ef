"""Faults injected into the runner and the live engine."""
