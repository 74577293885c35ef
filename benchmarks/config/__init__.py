"""How a benchmark is configured: YAML to checked arguments of classes."""
