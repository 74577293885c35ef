"""The live engine measured and broken on purpose."""
