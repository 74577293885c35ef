"""Configuration of a benchmark: YAML to checked arguments of classes."""
