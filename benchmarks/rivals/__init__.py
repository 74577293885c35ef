"""Public tools for upgrades of embeddings, measured on the same matrices as this project's methods.

Each runs in an environment and a process of its own, through its public interface (`drivers/`). Nothing of them is
imported here.
"""
